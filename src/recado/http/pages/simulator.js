// The simulator page: a phone per person, each showing that person's chat with the chosen merchant account.
// All text from the server or from people enters the page through textContent.

const LANGUAGE = document.documentElement.lang;
const TIME = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(LANGUAGE, { weekday: "long", day: "numeric", month: "long" });
const NOW = new Intl.DateTimeFormat(LANGUAGE, {
  weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const STATUS = {
  pending: ["clock", "Sending"], accepted: ["clock", "Accepted"], sent: ["check", "Sent"],
  delivered: ["checks", "Delivered"], read: ["checks", "Read"], failed: ["failed", "Failed"],
};
// What to try in an empty chat, by the merchant's language: [text, what will happen].
const [KNOWN, UNKNOWN, OPEN] = ["answered from the documents", "goes to the staff", "lists what is open"];
const TRIES = {
  es: {
    customer: [["¿Hacen envíos?", KNOWN], ["¿Tienen talla 44?", UNKNOWN]],
    staff: [["¿Qué preguntas hay pendientes?", OPEN]],
  },
  en: {
    customer: [["Do you deliver?", KNOWN], ["Do you have size 44?", UNKNOWN]],
    staff: [["Which questions are pending?", OPEN]],
  },
};
const HINTS = {
  customer: "No messages yet. Write as this customer, for example:",
  staff: "What the agent cannot answer arrives here. Reply to it, and the customer gets the answer.",
};
const TYPING_SECONDS = 25;
const RECONNECT_SECONDS = 1.5;
const LARGEST_FILE = 2_000_000; // bytes
const TYPE = /^[a-z0-9.+-]{1,60}\/[a-z0-9.+-]{1,60}$/;
const STREAMS = 4; // a browser opens six connections to a host: further phones poll, or nothing could be sent

const $ = (selector, root = document) => root.querySelector(selector);
const say = (root, selector, text) => { // no text: no element
  const element = $(selector, root);
  element.textContent = text || "";
  element.hidden = !text;
};
const clone = (id) => $(id).content.firstElementChild.cloneNode(true);
const narrow = matchMedia("(max-width: 720px)");
const phones = [];
const accounts = [];
const lost = new Set(); // the phones whose stream is down
let account = null;
let active = null; // the phone of the chosen tab, on a narrow screen
let skew = 0; // system clock minus browser clock, in milliseconds

const now = () => Date.now() + skew;

function newId() {
  if (crypto.randomUUID) return `sim-${crypto.randomUUID()}`; // absent on plain http other than localhost
  return `sim-${Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-")}`;
}

function dayName(at) {
  const midnight = (ms) => new Date(ms).setHours(0, 0, 0, 0);
  const days = Math.round((midnight(now()) - midnight(at)) / 86_400_000);
  return days === 0 ? "Today" : days === 1 ? "Yesterday" : DAY.format(at);
}

async function api(path, body) {
  const headers = { "Content-Type": "application/json" };
  const post = body && { method: "POST", headers, body: JSON.stringify(body) };
  const request = fetch(`/simulator/${path}`, { ...post, signal: AbortSignal.timeout(15_000) });
  const response = await request.catch(() => { throw new Error("The server did not answer."); });
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  const detail = typeof answer?.detail === "string" ? answer.detail : answer?.title;
  throw new Error(detail ?? `The server answered ${response.status}.`);
}

class Phone {
  constructor(person, index) {
    this.index = index;
    this.section = clone("#phone-template");
    this.tab = clone("#tab-template");
    this.section.id = `phone-${index}`;
    this.tab.id = `tab-${index}`;
    this.tab.setAttribute("aria-controls", this.section.id);
    this.chat = this.find(".chat");
    this.list = this.find("ol");
    this.composer = this.find("textarea");
    this.listen();
    this.become(person);
  }

  find(selector) {
    return $(selector, this.section);
  }

  listen() {
    this.pinned = true; // the newest message is in view, and stays so
    this.chat.addEventListener("scroll", () => {
      this.pinned = this.chat.scrollHeight - this.chat.scrollTop - this.chat.clientHeight < 40;
      if (this.pinned) this.refresh();
    }, { passive: true });
    new ResizeObserver(() => this.refresh()).observe(this.chat);
    this.find(".fresh").addEventListener("click", () => this.toBottom());
    this.find(".edit").addEventListener("click", () => edit(this));
    this.find(".attach").addEventListener("click", () => attach(this));
    this.find(".cancel").addEventListener("click", () => this.reply(null));
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.write();
    });
    this.composer.addEventListener("input", () => this.fit());
    this.section.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape" && this.replyTo) this.reply(null);
      if (event.key !== "Enter" || event.shiftKey || event.target !== this.composer) return;
      event.preventDefault();
      this.find("form").requestSubmit();
    });
  }

  become(someone) {
    const person = this.person = { ...someone, name: someone.name || someone.phone };
    this.entries = new Map(); // message id -> {message, item}
    this.seen = new Set(); // ids that the server was told are read
    this.section.dataset.phone = person.phone;
    this.section.dataset.role = this.tab.dataset.role = person.role;
    this.section.setAttribute("aria-label", `${person.name}, ${person.role}`);
    for (const part of [this.section, this.tab]) {
      $(".name", part).textContent = person.name;
      $(".avatar", part).textContent = Array.from(person.name)[0].toLocaleUpperCase();
    }
    this.find(".number").textContent = [person.phone, ...(person.types ?? [])].join(" · ");
    this.find(".role").textContent = person.role;
    this.find(".composer label span").textContent = `Message from ${person.name}`;
    this.find(".edit").hidden = person.role !== "customer";
    this.connect();
  }

  // --- what the server says ---

  connect() {
    this.disconnect();
    if (this.index >= STREAMS) return this.poll();
    const source = this.source = new EventSource(`/simulator/events?${this.query()}`);
    source.addEventListener("open", () => this.online(true));
    source.addEventListener("error", () => {
      this.online(false);
      this.disconnect();
      this.timer = setTimeout(() => this.connect(), RECONNECT_SECONDS * 1000);
    });
    source.addEventListener("message", (event) => this.upsert(JSON.parse(event.data)));
    source.addEventListener("typing", (event) => this.typing(JSON.parse(event.data).typing));
    source.addEventListener("clock", (event) => setClock(JSON.parse(event.data)));
  }

  query() {
    return new URLSearchParams({ phone: this.person.phone });
  }

  disconnect() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = this.round = null;
    this.typing(false);
  }

  async poll() {
    const round = this.round = {};
    const messages = await api(`messages?${this.query()}`).catch(() => null);
    if (this.round !== round) return; // disconnected meanwhile
    this.online(messages !== null);
    messages?.forEach((message) => this.upsert(message));
    this.timer = setTimeout(() => this.poll(), RECONNECT_SECONDS * 1000);
  }

  online(yes) {
    lost[yes ? "delete" : "add"](this);
    $("#lost").hidden = lost.size === 0;
    setTimeout(() => this.find(".log").removeAttribute("aria-busy"), 1000); // history is not read aloud
  }

  typing(on) {
    clearTimeout(this.typingTimer);
    if (on) this.typingTimer = setTimeout(() => this.typing(false), TYPING_SECONDS * 1000);
    this.find(".typing").dataset.typing = on;
    this.find(".typing").hidden = !on;
    this.find(".presence").textContent = on ? "typing…" : account?.address;
    this.refresh();
  }

  upsert(message) {
    const known = this.entries.get(message.id);
    const entry = known ?? { item: clone("#message-template") };
    const moved = known?.message.at !== message.at;
    entry.message = message;
    this.entries.set(message.id, entry);
    if (!known) this.wire(entry);
    this.draw(entry);
    if (!this.shows(message)) return;
    if (moved) this.place(entry);
    if (known) return this.refresh();
    for (const other of this.entries.values()) if (other.message.reply_to === message.id) this.draw(other);
    if (message.direction === "out") this.typing(false);
    if (message.direction === "out" && !this.pinned) this.find(".fresh").hidden = false;
    this.refresh();
  }

  shows(message) {
    return (message.direction === "in" ? message.to : message.from) === account.address;
  }

  // --- what is on the screen ---

  wire({ item, message: { id } }) {
    const current = () => this.entries.get(id).message;
    $(".reply", item).addEventListener("click", () => this.reply(current()));
    $(".retry", item).addEventListener("click", () => this.send(current()));
    $(".quote", item).addEventListener("click", () => this.jump(current().reply_to));
  }

  draw({ item, message }) {
    const article = $(".message", item);
    const own = message.direction === "in";
    const [icon, label] = STATUS[message.status] ?? STATUS.accepted;
    Object.assign(article.dataset, {
      messageId: message.id, direction: message.direction, kind: message.kind, status: message.status,
    });
    say(item, ".author", `${this.author(message)}:`);
    const { name = "unnamed" } = message.template ?? {};
    say(item, ".template", message.kind === "template" && `Template · ${name}`);
    say(item, ".text", message.text);
    say(item, "time", TIME.format(new Date(message.at)));
    say(item, ".error span", message.unsent);
    $(".error", item).hidden = !message.unsent;
    $("time", item).dateTime = message.at;
    $("time", item).title = `${NOW.format(new Date(message.at))} · ${label}`;
    $(".template", item).title = JSON.stringify(message.template ?? {}, null, 1);
    const tick = $(".tick", item);
    tick.hidden = !own && message.status !== "failed"; // as on a real phone: ticks are for the sender
    tick.title = label;
    tick.setAttribute("aria-label", label);
    $("use", tick).setAttribute("href", `#i-${icon}`);
    this.quote($(".quote", item), message.reply_to);
    this.files($(".files", item), message);
    this.buttons($(".buttons", item), message);
  }

  author({ direction, from }) {
    if (direction === "in") return this.person.name;
    return accounts.find((each) => each.address === from)?.merchant ?? from;
  }

  quote(place, id) {
    const quoted = this.entries.get(id)?.message;
    place.hidden = !id;
    place.disabled = !quoted;
    say(place, "b", quoted && this.author(quoted));
    say(place, "span", quoted ? quoted.text : "A message that is not here");
  }

  // What is no text: pictures of the simulator's own, and a line for all else.
  files(place, { attachments = [], location, media }) {
    const lines = attachments.map(({ kind, voice, filename, size, source, content_type }) => {
      const label = [voice ? "voice note" : kind, filename, `${Math.ceil(size / 1000)} kB`].filter(Boolean).join(" · ");
      const shown = kind === "image" && /^image\/(png|jpeg|gif|webp)$/.test(content_type);
      const element = document.createElement(source ? (shown ? "img" : "a") : "span");
      const href = `/simulator/files/${source}`;
      if (!source) return Object.assign(element, { textContent: label });
      if (!shown) return Object.assign(element, { textContent: label, href, download: filename ?? "" });
      element.addEventListener("load", () => this.refresh());
      return Object.assign(element, { src: href, alt: label });
    });
    const line = (...parts) => Object.assign(document.createElement("span"), {
      textContent: parts.filter((part) => part !== undefined && part !== null).join(" · "), dir: "auto",
    });
    if (location) lines.push(line("location", location.name, `${location.latitude}, ${location.longitude}`));
    if (media) lines.push(line(media.kind, media.filename, media.url));
    place.hidden = !lines.length;
    const key = JSON.stringify([attachments.map((each) => each.source), location, media]);
    if (place.dataset.key === key) return; // a picture that is there is not loaded again
    place.dataset.key = key;
    place.replaceChildren(...lines);
  }

  buttons(place, message) {
    place.hidden = !message.buttons?.length;
    if (place.childElementCount || place.hidden) return; // a message's buttons never change
    place.append(...message.buttons.map((each) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: each.title, dir: "auto", title: each.description ?? "" });
      const tapped = { reply_to: message.id, button: each.id };
      button.addEventListener("click", () => this.compose(each.title, tapped));
      return button;
    }));
  }

  place({ item, message }) {
    const at = (item.dataset.at = Date.parse(message.at));
    let before = this.list.lastElementChild;
    while (before && (before === item || before.dataset.at > at)) before = before.previousElementSibling;
    if (before) before.after(item);
    else this.list.prepend(item);
  }

  showAccount() {
    this.find(".merchant").textContent = account.merchant;
    this.find(".log").setAttribute("aria-label", `Chat of ${this.person.name} with ${account.merchant}`);
    this.list.replaceChildren();
    for (const entry of this.entries.values()) if (this.shows(entry.message)) this.place(entry);
    const tries = (TRIES[account.language] ?? TRIES.en)[this.person.role];
    this.find(".hint").textContent = HINTS[this.person.role];
    this.find(".tries").replaceChildren(...tries.map(([text, what]) => {
      const [item, button, note] = ["li", "button", "span"].map((tag) => document.createElement(tag));
      Object.assign(button, { type: "button", textContent: text, dir: "auto" });
      button.addEventListener("click", () => this.draft(text));
      note.textContent = what;
      item.append(button, note);
      return item;
    }));
    this.reply(null);
    this.typing(false);
    this.toBottom();
  }

  refresh() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      let last = "";
      for (const item of this.list.children) {
        const day = dayName(Number(item.dataset.at));
        $(".day", item).textContent = day;
        $(".day", item).hidden = day === last;
        last = day;
      }
      this.find(".empty").hidden = this.list.childElementCount > 0;
      if (this.pinned) this.find(".fresh").hidden = true;
      if (this.pinned) this.chat.scrollTop = this.chat.scrollHeight;
      this.attend();
    });
  }

  toBottom() {
    this.pinned = true;
    this.refresh();
  }

  jump(id) {
    const target = $(".message", this.entries.get(id).item);
    target.scrollIntoView({ block: "center" });
    target.focus({ preventScroll: true });
  }

  isUnread(message) {
    const arrived = message.direction === "out" && ["sent", "delivered"].includes(message.status);
    return arrived && this.shows(message) && !this.seen.has(message.id);
  }

  // Count what is unread, and tell the server of it once the person can see it.
  async attend() {
    const messages = [...this.entries.values()].map((entry) => entry.message);
    const unread = messages.filter((message) => this.isUnread(message)).map((message) => message.id);
    const visible = !document.hidden && this.section.offsetParent && this.pinned;
    $(".badge", this.tab).hidden = visible || !unread.length;
    $(".badge b", this.tab).textContent = unread.length;
    if (!visible || !unread.length) return;
    unread.forEach((id) => this.seen.add(id));
    const { seen, person: { phone } } = this;
    await api("read", { phone, to: account.address }).catch(() => unread.forEach((id) => seen.delete(id)));
  }

  // --- what the person does ---

  reply(message) {
    this.replyTo = message?.id;
    this.quote(this.find(".replying .quoted"), this.replyTo);
    this.find(".replying").hidden = !message;
    if (message || this.section.contains(document.activeElement)) this.composer.focus();
  }

  draft(text) {
    this.composer.value = text;
    this.fit();
    this.composer.focus();
  }

  fit() {
    this.composer.style.height = "auto";
    const borders = this.composer.offsetHeight - this.composer.clientHeight;
    this.composer.style.height = `${this.composer.scrollHeight + borders}px`;
  }

  write() {
    const text = this.composer.value.trim();
    if (!text) return;
    this.compose(text, this.replyTo ? { reply_to: this.replyTo } : {});
    this.draft("");
    this.reply(null);
  }

  // Files or a place, with the text that is being written.
  writeWith(content) {
    const reply = this.replyTo ? { reply_to: this.replyTo } : {};
    this.compose(this.composer.value.trim(), { ...reply, ...content });
    this.draft("");
    this.reply(null);
  }

  compose(text, extra) {
    this.pinned = true;
    const ends = { from: this.person.phone, to: account.address };
    this.send({ id: newId(), direction: "in", kind: "text", ...ends, text, ...extra });
  }

  // Also a retry: the same id makes it a redelivery, never a second message.
  async send({ id, from, to, text, reply_to, button, sent, ...rest }) {
    const local = { ...rest, id, from, to, text, reply_to, button, at: new Date(now()).toISOString() };
    if (sent) local.sent = sent; // for a retry
    this.upsert({ ...local, status: "pending", unsent: null });
    try {
      await api("messages", { id, from, to, text, reply_to, button, name: this.person.name, ...sent });
    } catch (error) {
      if (this.entries.get(id)?.message.status === "pending") {
        this.upsert({ ...local, status: "failed", unsent: `Not sent. ${error.message}` });
      }
    }
  }
}

// --- the page around the phones ---

function setClock({ now: text, offset_seconds: offset }) {
  skew = Date.parse(text) - Date.now();
  const minutes = Math.round(offset / 60);
  const parts = [[Math.floor(minutes / 60), "h"], [minutes % 60, "min"]].filter(([amount]) => amount);
  say(document, "#offset", minutes && `+${parts.map((part) => part.join(" ")).join(" ")}`);
  tick();
  phones.forEach((phone) => phone.refresh());
}

function tick() {
  $("#now").textContent = NOW.format(now());
  $("#now").dateTime = new Date(now()).toISOString();
}

async function advance(seconds) {
  try {
    setClock(await api("clock", { advance_seconds: Math.round(seconds) }));
    say(document, "#problem", null);
  } catch (error) {
    say(document, "#problem", `The clock was not advanced. ${error.message}`);
  }
}

function choose(phone, focus = false) {
  active = phone;
  for (const each of phones) {
    each.section.classList.toggle("active", each === phone);
    each.tab.setAttribute("aria-selected", each === phone);
    each.tab.tabIndex = each === phone ? 0 : -1;
    each.refresh();
  }
  if (focus) phone.tab.focus();
}

function chooseByKey(event) {
  const last = phones.length - 1;
  const to = { ArrowLeft: active.index - 1, ArrowRight: active.index + 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(phones[(to + phones.length) % phones.length], true);
}

function chooseAccount(address) {
  account = accounts.find((each) => each.address === address);
  phones.forEach((phone) => phone.showAccount());
}

function edit(phone) {
  const dialog = $("#edit");
  const { name, phone: number } = $("form", dialog).elements;
  [name.value, number.value] = [phone.person.name, phone.person.phone];
  const check = () => {
    const taken = phones.some((each) => each !== phone && each.person.phone === number.value);
    number.setCustomValidity(taken ? "Another phone here has this number." : "");
  };
  number.oninput = check;
  dialog.returnValue = "cancel";
  dialog.onclose = () => {
    if (dialog.returnValue !== "save") return;
    phone.become({ ...phone.person, name: name.value.trim() || phone.person.name, phone: number.value });
    phone.showAccount();
  };
  dialog.showModal();
}

function attach(phone) {
  const dialog = $("#attach");
  const form = $("form", dialog);
  form.reset();
  say(dialog, ".wrong", null);
  $(".cancel", dialog).onclick = () => dialog.close(); // no submit button: Enter in a field would press it
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      const content = await contentOf(form.elements);
      dialog.close();
      phone.writeWith(content);
    } catch (error) {
      say(dialog, ".wrong", error.message);
    }
  };
  dialog.showModal();
}

// What the dialog holds: `sent` is for the server, the rest for the screen until it has answered.
async function contentOf({ file: { files: [file] }, latitude, longitude, place }) {
  if (file) {
    if (!file.size) throw new Error("The file is empty.");
    if (file.size > LARGEST_FILE) throw new Error("The file is larger than 2 MB: choose a smaller one.");
    const content_type = TYPE.test(file.type) ? file.type : "application/octet-stream";
    const kind = content_type.split("/")[0];
    const voice = kind === "audio"; // what has no name is a voice note
    const about = { content_type, ...(voice ? {} : { filename: file.name.slice(0, 200) }) };
    const sent = { attachments: [{ ...about, data: await inBase64(file) }] };
    return { sent, attachments: [{ ...about, kind, voice, size: file.size }] };
  }
  if (!latitude.value || !longitude.value) throw new Error("Choose a file, or give a latitude and a longitude.");
  const location = { latitude: latitude.valueAsNumber, longitude: longitude.valueAsNumber };
  if (place.value.trim()) location.name = place.value.trim();
  return { sent: { location }, location };
}

function inBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(file);
  });
}

function panels() { // tabs exist on a narrow screen only; elsewhere a phone is a region of the page
  for (const { section } of phones) section.setAttribute("role", narrow.matches ? "tabpanel" : "region");
}

async function start() {
  const [world, clock] = await Promise.all([api("people"), api("clock")]);
  if (!world.merchant_accounts.length) throw new Error("No merchant has a simulator account.");
  accounts.push(...world.merchant_accounts);
  account = accounts[0];
  say(document, "#demo", world.demo_notice);
  const label = (each) => `${each.merchant} · ${each.address}`;
  $("#account").append(...accounts.map((each) => new Option(label(each), each.address)));
  $(".account").hidden = accounts.length < 2;
  setClock(clock);
  phones.push(...world.people.map((person, index) => new Phone(person, index)));
  $(".phones").append(...phones.map((phone) => phone.section));
  $(".tabs").append(...phones.map((phone) => phone.tab));
  for (const phone of phones) phone.tab.addEventListener("click", () => choose(phone));
  chooseAccount(account.address);
  panels();
  choose(phones[0]);
}

async function startWhenServed() {
  try {
    await start();
    say(document, "#problem", null);
  } catch (error) {
    say(document, "#problem", `The simulator cannot start yet. ${error.message} Trying again…`);
    if (!phones.length) setTimeout(startWhenServed, RECONNECT_SECONDS * 1000);
  }
}

$(".tabs").addEventListener("keydown", chooseByKey);
$("#account").addEventListener("change", (event) => chooseAccount(event.target.value));
$("#advance").addEventListener("submit", (event) => {
  event.preventDefault();
  advance(event.target.elements.hours.valueAsNumber * 3600).then(() => event.target.reset());
});
for (const button of document.querySelectorAll("[data-advance]")) {
  button.addEventListener("click", () => advance(Number(button.dataset.advance)));
}
narrow.addEventListener("change", () => { panels(); choose(active); });
// A tab out of sight gives its connections back: two tabs with four streams each would block one another.
document.addEventListener("visibilitychange", () => {
  for (const phone of phones) document.hidden ? phone.disconnect() : phone.connect();
});
setInterval(tick, 1000);
startWhenServed();
