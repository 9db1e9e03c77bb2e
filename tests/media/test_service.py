"""Files that people send: fetched once, checked, kept whole or not at all; and voice notes, listened to once."""

import asyncio
import hashlib
import os
import stat
import time

import pytest

from recado.channels.base import Attachment
from recado.media.service import AT_ONCE
from recado.media.storage import ABANDONED_SECONDS
from tests.builders import ProcessDies, make_shop
from tests.media.desk import FAILURES, HOST, LIMIT, MediaDesk, attachment
from tests.media.host import HTML, OGG, PNG, FileHost, Served, redirect


async def test_a_picture_is_kept_with_what_is_known_of_it(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(PNG, "image/png"))
    await desk.prepare(await desk.sends(attachment("/1", filename="../../etc/passwd")))
    [media] = await desk.files()
    assert (media.state, media.content_type, media.size, media.error) == ("stored", "image/png", len(PNG), None)
    assert media.sha256 == hashlib.sha256(PNG).hexdigest()
    assert media.path is not None
    assert media.path.startswith(f"{desk.shop.merchant_id}/2026/05/")
    [path] = desk.on_disk()
    assert path == desk.folder / media.path
    assert path.read_bytes() == PNG
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    folders = [folder for folder in path.parents if folder.is_relative_to(desk.folder)]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


async def test_a_file_is_fetched_once_however_often_its_turn_is_drafted(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(PNG))
    turn_id = await desk.sends(attachment("/1"))
    for _ in range(3):
        await desk.prepare(turn_id)
    assert host.asked() == ["/1"]
    assert desk.line.downloads == 1


async def test_another_merchants_turn_is_left_alone(desk_on_both: MediaDesk, host: FileHost) -> None:
    other = await make_shop(desk_on_both.shop.database, "other", "+15550200")
    host.serve("/1", Served(PNG))
    await desk_on_both.service().prepare(await desk_on_both.sends(attachment("/1")), other.merchant_id)
    assert [media.state for media in await desk_on_both.files()] == ["pending"]
    assert host.asked() == []


async def test_what_is_not_what_it_says_is_not_kept(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(HTML, "image/png"))
    await desk.prepare(await desk.sends(attachment("/1")))
    [media] = await desk.files()
    assert (media.state, media.content_type, media.path) == ("refused", None, None)
    assert desk.on_disk() == []
    assert host.asked() == ["/1"]  # what it is does not change by asking again


@pytest.mark.parametrize("streamed", [False, True], ids=["announced", "streamed"])
async def test_what_is_too_large_is_refused(desk: MediaDesk, host: FileHost, streamed: bool) -> None:
    host.serve("/1", Served(PNG + bytes(LIMIT), streamed=streamed))
    await desk.prepare(await desk.sends(attachment("/1")))
    [media] = await desk.files()
    assert media.state == "refused"
    assert "larger" in (media.error or "")
    assert (desk.on_disk(), media.path) == ([], None)
    assert desk.alerts.sent == []


@pytest.mark.parametrize(
    "source", ["https://evil.example/x?secret=1", "http://127.0.0.1:1/x", "/to-evil", "https://169.254.169.254/"]
)
async def test_a_file_on_a_foreign_host_is_not_fetched_and_is_told_of(
    desk: MediaDesk, host: FileHost, source: str
) -> None:
    host.serve("/to-evil", redirect("https://evil.example/x?secret=1"))
    await desk.prepare(await desk.sends(attachment(source)))
    [media] = await desk.files()
    assert media.state == "refused"
    [(title, why, context)] = desk.alerts.sent
    assert title == "security_foreign_file"
    assert context["media_id"] == media.id
    assert context["merchant_id"] == desk.shop.merchant_id
    assert "secret" not in why + repr(context)
    assert desk.line.downloads == 1


async def test_a_hiccup_is_overcome(desk: MediaDesk, host: FileHost) -> None:
    bad = Served(status=500)
    host.serve("/1", bad, bad, Served(PNG))
    host.serve("/2", Served(PNG, cut_after=20), Served(PNG))
    await desk.prepare(await desk.sends(attachment("/1"), attachment("/2")))
    assert [(media.state, media.attempts) for media in await desk.files()] == [("stored", 3), ("stored", 2)]
    assert [path.read_bytes() for path in desk.on_disk()] == [PNG, PNG]


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (429, 3), (404, 1), (410, 1), (401, 1)])
async def test_what_does_not_come_is_given_up(desk: MediaDesk, host: FileHost, status: int, tries: int) -> None:
    host.serve("/1", Served(status=status))
    turn_id = await desk.sends(attachment("/1"))
    await desk.prepare(turn_id)
    await desk.prepare(turn_id)
    [media] = await desk.files()
    assert (media.state, media.path, len(host.asked())) == ("failed", None, tries)
    assert str(status) in (media.error or "")
    assert desk.on_disk() == []
    assert desk.alerts.conditions == (["file_not_kept"] if status == 401 else [])


async def test_a_crash_leaves_no_half_file_and_no_second_one(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(PNG))
    turn_id = await desk.sends(attachment("/1"))
    desk.line.dies = 1
    with pytest.raises(ProcessDies):
        await desk.prepare(turn_id)
    [before] = await desk.files()
    assert (before.state, desk.on_disk()) == ("pending", [])
    # Dead between the file and the row: the file is there, and nobody knows.
    assert before.path is not None
    with desk.store.incoming() as (file, incoming):
        file.write(b"what was fetched before")
        desk.store.keep(file, incoming, before.path)
    await desk.prepare(turn_id, desk.service())
    [media] = await desk.files()
    assert (media.state, media.path, media.attempts) == ("stored", before.path, 2)
    assert [path.read_bytes() for path in desk.on_disk()] == [PNG]


async def test_what_a_dead_process_left_half_fetched_is_removed(desk: MediaDesk) -> None:
    left, fresh = [desk.folder / "incoming" / name for name in ("left", "fresh")]
    left.parent.mkdir(parents=True)
    for path in (left, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - ABANDONED_SECONDS - 10
    os.utime(left, (long_ago, long_ago))
    await desk.service().clean()
    assert desk.on_disk() == [fresh]


async def test_a_turn_does_not_wait_for_ever(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/slow", Served(PNG, hold="never"))
    host.serve("/1", Served(PNG))
    desk.ears.gate = asyncio.Event()
    host.serve("/voice", Served(OGG))
    files = (attachment("/slow"), attachment("/1"), attachment("/voice", "audio", voice=True))
    turn_id = await desk.sends(*files)
    # Long enough for those that do come, on a busy machine.
    await desk.prepare(turn_id, desk.service(total_seconds=3.0))
    slow, fine, voice = await desk.files()
    assert [slow.state, fine.state, voice.state] == ["failed", "stored", "stored"]
    assert (voice.transcript, (voice.error or "").partition(":")[0]) == (None, "not heard")
    assert len(desk.on_disk()) == 2
    await desk.prepare(turn_id)
    assert len(desk.ears.heard) == 1


async def test_only_so_many_are_fetched_at_once_and_one_does_not_cost_the_others(
    desk: MediaDesk, host: FileHost
) -> None:
    paths = [f"/{number}" for number in range(AT_ONCE + 2)]
    for path in paths:
        host.serve(path, Served(PNG, hold="all"))
    turn_id = await desk.sends(*map(attachment, paths), Attachment("image", "https://evil.example/x"))
    preparing = asyncio.create_task(desk.prepare(turn_id))
    await host.requests.until(AT_ONCE, "file")
    assert len(host.asked()) == AT_ONCE
    for count in range(AT_ONCE + 1, len(paths) + 1):
        host.gates.release("all")
        await host.requests.until(count, "file")
    while not preparing.done():
        host.gates.release("all")
        await asyncio.sleep(0.02)
    await preparing
    assert [media.state for media in await desk.files()] == ["stored"] * len(paths) + ["refused"]


async def test_a_voice_note_is_listened_to_once(desk_on_both: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(OGG, "audio/ogg; codecs=opus"))
    turn_id = await desk_on_both.sends(attachment("/1", "audio", "audio/ogg", voice=True))
    for _ in range(2):
        await desk_on_both.prepare(turn_id)
    [media] = await desk_on_both.files()
    assert (media.state, media.transcript) == ("stored", "¿Hacen envíos?")
    assert desk_on_both.ears.heard == [(OGG, "audio/ogg", None)]


async def test_only_sound_is_listened_to(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(PNG))
    await desk.prepare(await desk.sends(attachment("/1")))
    assert desk.ears.heard == []


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_who_cannot_be_heard_has_still_sent_a_message(
    desk: MediaDesk, host: FileHost, failure: Exception
) -> None:
    host.serve("/1", Served(OGG))
    desk.ears.failure = failure
    turn_id = await desk.sends(attachment("/1", "audio", "audio/ogg", voice=True))
    for _ in range(2):
        await desk.prepare(turn_id)
    [media] = await desk.files()
    assert (media.state, media.transcript) == ("stored", None)
    assert str(failure) in (media.error or "")
    assert len(desk.ears.heard) == 1


async def test_after_a_crash_between_fetching_and_listening_it_is_listened_to(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(OGG))
    turn_id = await desk.sends(attachment("/1", "audio", "audio/ogg", voice=True))
    await desk.prepare(turn_id, desk.service(hears=False))
    await desk.prepare(turn_id)
    assert [media.transcript for media in await desk.files()] == ["¿Hacen envíos?"]
    assert host.asked() == ["/1"]


async def test_what_is_said_is_stored_as_texts_are(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(OGG))
    desk.ears.said = " \x00hola\ud800 " + "x" * 50_000
    await desk.prepare(await desk.sends(attachment("/1", "audio")))
    [media] = await desk.files()
    assert (media.transcript or "").startswith("hola xx")
    assert len(media.transcript or "") < 20_000


async def test_what_is_taken_back_is_deleted(desk_on_both: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(PNG))
    await desk_on_both.prepare(await desk_on_both.sends(attachment("/1")))
    sent = await desk_on_both.message()
    await desk_on_both.prepare(
        await desk_on_both.sends(kind="deletion", about_provider_message_id=sent.provider_message_id)
    )
    [media] = await desk_on_both.files()
    assert (media.state, media.path) == ("removed", None)
    assert desk_on_both.on_disk() == []


async def test_what_is_taken_back_while_it_is_fetched_is_not_kept(desk: MediaDesk, host: FileHost) -> None:
    host.serve("/1", Served(PNG, hold="fetch"))
    turn_id = await desk.sends(attachment("/1"))
    sent = await desk.message()
    preparing = asyncio.create_task(desk.prepare(turn_id))
    await host.requests.until(1, "file")
    await desk.sends(kind="deletion", about_provider_message_id=sent.provider_message_id)
    await desk.prepare(turn_id, desk.service())
    host.gates.release("fetch")
    await preparing
    assert [media.state for media in await desk.files()] == ["removed"]
    assert desk.on_disk() == []


def test_no_path_leads_out_of_the_folder(desk: MediaDesk) -> None:
    for path in ("../x", "/etc/passwd", "1/../../x"):
        with pytest.raises(ValueError, match="MEDIA_DIR"):
            desk.store.locate(path)


def test_names_come_from_nowhere_else(desk: MediaDesk) -> None:
    made = {desk.store.new_path(1, desk.shop.clock.now()) for _ in range(100)}
    assert len(made) == 100
    assert HOST not in "".join(made)
