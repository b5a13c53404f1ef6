// The subscribing page. Call subscribe() from a click: browsers ask for permission only then.
// KEY: the public half of the site's VAPID key (docs/webpush.md); REGISTER: your own server, which calls Broadside's API.
const KEY = "BExampleKey…";
const REGISTER = "/push/register";

export async function subscribe() {
  const worker = await navigator.serviceWorker.register("/worker.js");
  const last = await worker.pushManager.getSubscription();
  const subscription = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: KEY });
  const token = JSON.stringify(subscription);
  // a browser that subscribes anew stays the same subscriber
  const replaces = last && last.endpoint !== subscription.endpoint ? last.endpoint : undefined;
  const known = { channel: "web-news", token, replaces, locale: navigator.language };
  known.tz = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const answer = await fetch(REGISTER, { method: "POST", body: JSON.stringify(known) });
  if (!answer.ok) throw new Error(`the subscription was not stored: ${answer.status}`);
}
