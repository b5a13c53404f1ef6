// The compose page: fills a form from a story's link, adds and removes languages, and fires by holding or in two steps.
import { send } from "./page.js";

const byId = (id) => document.getElementById(id);
const form = byId("compose"), button = byId("fire-button"), sure = byId("sure"), answer = byId("fire-answer");

// news comes soon: connections that routers have forgotten are found and replaced meanwhile
send("/v1/channels/probe", "POST").catch(() => {});

// -- the draft: kept half a second after the last key, one request after the other, so that each knows the last version
let waits, keeping = false, changes = false;
function keep() {
  clearTimeout(waits);
  if (keeping) return;
  htmx.trigger(form, "keep");
  waits = setTimeout(() => changes && keep(), 500); // until the request is on its way
}
function changed() {
  changes = true;
  clearTimeout(waits);
  waits = setTimeout(keep, 500);
}
form.addEventListener("submit", (event) => event.preventDefault());
// what is typed beside the text changes no draft
form.addEventListener("input", ({ target }) => target.dataset.apart === undefined && changed());
document.addEventListener("broadside:changed", changed);
document.addEventListener("htmx:before:request", ({ target }) => {
  if (target === form) [keeping, changes] = [true, false];
});
document.addEventListener("htmx:finally:request", ({ target }) => {
  if (target !== form) return;
  keeping = false;
  if (changes) changed();
});

// -- the link of the story
let read = form.url.value;
async function readLink() {
  const url = form.url.value.trim(), state = byId("link-state");
  if (!+form.dataset.reads || url === read || !/^https?:\/\/\S+$/.test(url)) return;
  read = url;
  state.textContent = "Reading the page …";
  try {
    const got = await send("/v1/links/read", "POST", { url });
    const page = await got.json();
    if (url !== form.url.value.trim()) return;
    if (!got.ok) { state.textContent = `${page.detail}: ${page.remedy}`; return; }
    const found = { title: page.title, body: page.description, image: page.image };
    const filled = Object.entries(found).filter(([name, text]) => text && !form.elements[name].value);
    for (const [name, text] of filled) form.elements[name].value = text;
    form.url.value = read = page.url;
    state.textContent = filled.length ? "Filled from the page." : "Read. What you have written stays.";
    changed();
  } catch { state.textContent = "The node does not answer. Write the texts yourself."; }
}
form.url.addEventListener("paste", () => setTimeout(readLink));
form.url.addEventListener("change", readLink);

// -- languages
byId("languages").addEventListener("click", ({ target }) => {
  if (target.dataset.remove === undefined) return;
  const fields = target.closest("fieldset");
  for (const part of [fields.previousElementSibling.previousElementSibling, fields.previousElementSibling, fields]) part.remove();
  byId("tab-default").checked = true;
  byId("tab-default").focus();
  changed();
});
document.addEventListener("htmx:after:swap", () => {
  const last = byId("languages").lastElementChild;
  if (byId("new_locale").value && last.matches("input:checked + label + fieldset") && !last.contains(document.activeElement)) {
    byId("new_locale").value = "";
    last.querySelector("input:not([type=hidden])").focus();
    changed();
  }
  if (byId("version").value > 0) history.replaceState(null, "", "/?draft=" + form.draft.value);
});

// -- Fire
let timer, held = false, asked;
function fire() {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  sure.hidden = true;
  post(50);
}
// what was typed last is kept first; after five seconds Fire itself says why that fails
function post(tries) {
  if ((changes || keeping) && tries) {
    if (changes) keep();
    setTimeout(post, 100, tries - 1);
    return;
  }
  answer.replaceChildren(...answer.querySelectorAll("label"));
  asked = setTimeout(unsure, 20000);
  htmx.trigger(button, "fire");
}
function unsure() {
  button.ariaBusy = "false";
  const line = document.createElement("p");
  line.className = "problem";
  line.textContent = `The node has not answered: draft ${form.draft.value} may have been sent. Send it again to be sure: a draft is sent once.`;
  answer.replaceChildren(line);
}
// An answer may move the button while it is held: what counts is whether the pointer stays where the button was.
let place;
const release = () => { clearTimeout(timer); place = undefined; button.classList.remove("holding"); };
button.addEventListener("pointerdown", (event) => {
  held = false;
  if (event.button) return;
  place = button.getBoundingClientRect();
  button.setPointerCapture(event.pointerId);
  button.classList.add("holding");
  timer = setTimeout(() => { held = true; release(); fire(); }, 1000);
});
button.addEventListener("pointermove", ({ clientX: x, clientY: y, pointerId }) => {
  if (!place || (x >= place.left && x <= place.right && y >= place.top && y <= place.bottom)) return;
  release();
  button.releasePointerCapture(pointerId);
});
for (const end of ["pointerup", "pointercancel"]) button.addEventListener(end, release);
button.addEventListener("contextmenu", (event) => event.preventDefault());
button.addEventListener("click", () => {
  const done = held;
  held = false;
  if (done || button.ariaBusy === "true") return;
  sure.hidden = false;
  byId("sure-yes").focus();
});
byId("sure-yes").addEventListener("click", () => { button.focus(); fire(); });
const no = () => { if (!sure.hidden) { sure.hidden = true; button.focus(); } };
byId("sure-no").addEventListener("click", no);
sure.addEventListener("keydown", (event) => {
  if (event.repeat) event.preventDefault(); // a key that is held down must not press this button too
  if (event.key === "Escape") no();
});
document.addEventListener("htmx:finally:request", ({ target }) => {
  if (target !== button) return;
  clearTimeout(asked);
  button.ariaBusy = "false";
});
document.addEventListener("htmx:error", ({ target }) => {
  if (target === button) { clearTimeout(asked); unsure(); }
  else if (target === form) document.querySelector(".saved").textContent = "Not saved: the node does not answer. Your text is still here.";
});
