// The service worker: shows what the server pushes and opens its page. It keeps nothing and answers no request.
const windows = () => clients.matchAll({ type: 'window', includeUncontrolled: true });
const at = (url) => ({ url: page }) => new URL(page).pathname === url;

async function show({ title, body, url, tag }) {
  const watched = (await windows()).filter(at(url)).some((page) => page.focused);
  await registration.showNotification(title, { body, tag, data: url, icon: '/static/latest/icon.png', silent: watched });
  // Browsers take the subscription away from whoever is sent something and shows nothing, so it is shown even then.
  if (watched) for (const shown of await registration.getNotifications({ tag })) shown.close();
}

async function open(url) {
  const page = (await windows()).find(at(url));
  return page ? page.focus() : clients.openWindow(url);
}

addEventListener('install', () => skipWaiting());
addEventListener('push', (event) => event.waitUntil(show(event.data.json())));
addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data));
});
