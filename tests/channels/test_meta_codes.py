"""What each of Meta's codes means, and that an operator is told what to do where they can do something."""

import pytest

from recado.channels.meta.codes import CODES, meaning
from recado.errors import (
    AccountRefused,
    MarketingStopped,
    OptedOut,
    Permanent,
    Retryable,
    SendError,
    TemplateRefused,
    WindowClosed,
)

MEANINGS: dict[type[SendError], tuple[int, ...]] = {
    Retryable: (1, 2, 4, 613, 80007, 130429, 131000, 131016, 131056, 131057, 132069, 133004),
    AccountRefused: (
        *(0, 3, 10, 190, *range(200, 300), 368),
        *(131005, 131031, 131037, 131042, 131045, 131048, 131064),
        *(133005, 133006, 133010, 133015, 133016),
    ),
    WindowClosed: (131047, 2018278, 2534022),
    TemplateRefused: (
        *(130472, 131049, 131063, 132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132018, 132068),
        *(2388040, 2388293, 2388299),
    ),
    MarketingStopped: (131050,),
    Permanent: (
        *(100, 551, 130497, 131008, 131009, 131021, 131026, 131030, 131051, 131052, 131053, 131062, 135000, 137000),
    ),
}


@pytest.mark.parametrize(("error", "code"), [(error, code) for error, codes in MEANINGS.items() for code in codes])
def test_each_code_has_its_meaning(error: type[SendError], code: int) -> None:
    assert CODES[code].error is error
    assert CODES[code].why


def test_who_can_do_something_is_told_what() -> None:
    for code, meant in CODES.items():
        if meant.error in (AccountRefused, TemplateRefused) and code != 130472:
            assert meant.remedy, code


def test_a_subcode_says_more_than_its_code() -> None:
    assert meaning(10, 2534022).error is WindowClosed
    assert meaning(100, 2388299).error is TemplateRefused
    assert meaning(551, 2018108).error is OptedOut
    assert meaning(190, 463).error is AccountRefused  # a subcode that we do not know
    assert meaning(100, 33).error is Permanent  # 33 is a code too, but means something else


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (99_999_999, 400, Permanent),
        (99_999_999, 429, Retryable),
        (99_999_999, 500, Retryable),
        (None, 503, Retryable),
        (None, 404, Permanent),
        (None, None, Permanent),
        (131047, 500, WindowClosed),
    ],
)
def test_the_status_decides_about_what_is_unknown(code: int | None, status: int | None, error: type[SendError]) -> None:
    assert meaning(code, None, status).error is error
