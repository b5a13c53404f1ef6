// The site's service worker: shows declarative push messages where the browser does not do so itself.
self.addEventListener("push", (event) => {
  const push = event.data ? event.data.json() : {};
  if (push.web_push !== 8030) return;
  const { title, navigate, app_badge: badge, ...options } = push.notification;
  const shown = self.registration.showNotification(title, { ...options, data: { ...options.data, navigate } });
  const badged = badge !== undefined && navigator.setAppBadge ? navigator.setAppBadge(badge) : undefined;
  event.waitUntil(Promise.all([shown, badged]));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow(event.notification.data.navigate));
});
