// What every page does: sends its session's token, follows the node's events, and says when the node is away.
const token = document.querySelector("meta[name=csrf]").content;
const stale = document.getElementById("connection");
const alarms = document.getElementById("alarms");
let source, lost = false, waiting;

// a request got no answer: the stream may still seem open, so it is opened anew, which tells when the node is back
document.addEventListener("htmx:error", () => {
  away();
  again(1000);
});

export const send = (path, method, body) => fetch(path, {
  method, headers: { "X-CSRF-Token": token, "Content-Type": "application/json" },
  body: body === undefined ? undefined : JSON.stringify(body),
});

document.getElementById("log-out").addEventListener("click", async () => {
  await send("/v1/session", "DELETE");
  location.assign("/login");
});

function away() {
  lost = true;
  stale.hidden = false;
}

function back() {
  stale.hidden = true;
  if (lost) document.dispatchEvent(new CustomEvent("broadside:changed"));
  lost = false;
}

// A stream that was refused, not broken, does not come back by itself: the session may have ended.
async function refused() {
  away();
  try {
    const answer = await fetch("/v1/session");
    if (answer.status === 401) {
      location.assign("/login?ended=1&next=" + encodeURIComponent(location.pathname + location.search));
      return;
    }
  } catch { /* the node is away */ }
  again(2000);
}

function again(ms) {
  quiet();
  waiting = setTimeout(() => document.hidden || listen(), ms);
}

function quiet() {
  clearTimeout(waiting);
  source?.close();
}

function listen() {
  quiet();
  source = new EventSource(document.body.dataset.events);
  source.onopen = back;
  source.onerror = () => source.readyState === 2 ? refused() : away();
  for (const name of ["campaign", "channels", "alarms", "ring"]) {
    source.addEventListener(name, (event) => document.dispatchEvent(
      new CustomEvent("broadside:" + name, { detail: JSON.parse(event.data) })));
  }
}

// a browser opens six connections to one host: a hidden tab needs none
document.addEventListener("visibilitychange", () => document.hidden ? quiet() : listen());
addEventListener("pagehide", quiet);
addEventListener("pageshow", (event) => event.persisted && listen());

document.addEventListener("broadside:alarms", ({ detail: { items } }) => {
  alarms.hidden = !items.length;
  if (!items.length) return;
  alarms.dataset.worst = items[0].severity;
  const more = items.length > 1 ? ` (and ${items.length - 1} more)` : "";
  alarms.firstElementChild.textContent = items[0].text + more;
  alarms.lastElementChild.replaceChildren(...items.slice(0, 5).map((alarm) => {
    const line = document.createElement("li");
    line.textContent = `${alarm.text}. ${alarm.remedy}`;
    return line;
  }));
});

document.addEventListener("broadside:campaign", ({ detail: line }) => {
  const row = document.querySelector(`tr[data-campaign="${line.id}"]`);
  if (!row) return;
  row.dataset.state = line.state;
  const sum = (word) => number(Object.values(line.channels).reduce((all, tally) => all + tally[word], 0));
  const shown = { state: line.state, delivered: sum("delivered"), remaining: sum("remaining"), rate: number(line.rate) };
  for (const [field, text] of Object.entries(shown)) row.querySelector(`[data-field=${field}]`).textContent = text;
});

export const number = (value) => Math.round(value).toLocaleString("en-US");

listen();
