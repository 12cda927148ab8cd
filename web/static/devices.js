// Notifications in this browser: on, off, of what, a test; and the others that its owner is told on.
import { fragment, request } from './http.js';
import { attempt, replace, say } from './page.js';
import { language, t } from './words.js';

const form = document.getElementById('notifications');
const list = document.getElementById('devices');
const state = document.getElementById('push-state');
const [on, off, test] = ['on', 'off', 'test'].map((name) => form.elements[name]);
const can = 'serviceWorker' in navigator && 'PushManager' in window && 'Notification' in window;

const subscription = async () => (await navigator.serviceWorker.getRegistration('/'))?.pushManager.getSubscription();

async function id({ endpoint }) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(endpoint)));
  return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const bytes = (base64) => Uint8Array.from(atob(base64.replace(/-/g, '+').replace(/_/g, '/')), (each) => each.charCodeAt(0));

async function subscribe() {
  const { pushManager } = await navigator.serviceWorker.register('/sw.js');
  await navigator.serviceWorker.ready;
  const options = { userVisibleOnly: true, applicationServerKey: bytes(form.dataset.key) };
  try {
    return await pushManager.subscribe(options);
  } catch (error) {
    const old = error.name === 'InvalidStateError' && (await pushManager.getSubscription());
    if (!old) throw error;
    await old.unsubscribe(); // it was made with an earlier key of the server
    return pushManager.subscribe(options);
  }
}

/** Of all devices the server's list tells; of this one also the browser. */
async function show() {
  const html = await fragment('/settings/devices');
  if (html !== null) replace(list, html);
  const known = can && (await subscription());
  const row = known && list.querySelector(`[data-device="${await id(known)}"]`);
  const denied = can && Notification.permission === 'denied';
  state.textContent = !can ? t('push_none') : denied ? t('push_denied') : row ? t('push_on') : t('push_off');
  on.hidden = Boolean(row) || !can || denied;
  off.hidden = test.hidden = !row;
  if (!row) return;
  row.querySelector('[data-here]').hidden = false;
  for (const box of form.elements.moment) box.checked = row.dataset.moments.split(' ').includes(box.value);
}

async function save(subscribed) {
  const moments = new FormData(form).getAll('moment');
  await request('PUT', '/api/devices', { subscription: subscribed.toJSON(), moments, language });
}

const then = async (act) => {
  await attempt(act);
  await show();
};

on.addEventListener('click', () => then(async () => {
  if ((await Notification.requestPermission()) === 'granted') await save(await subscribe());
}));
off.addEventListener('click', () => then(async () => {
  const known = await subscription();
  await request('DELETE', `/api/devices/${await id(known)}`);
  await known.unsubscribe();
}));
test.addEventListener('click', () => then(async () => {
  await request('POST', `/api/devices/${await id(await subscription())}/test`);
  say(t('push_sent'));
}));
form.addEventListener('change', () => off.hidden || then(async () => {
  await save(await subscription());
  say(t('saved'));
}));
list.addEventListener('click', (event) => {
  const button = event.target.closest('[data-remove]');
  if (button) then(() => request('DELETE', `/api/devices/${button.dataset.remove}`));
});
show();
