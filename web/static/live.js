// Staying up to date: hints of the live channel, and looking now and then whether or not there is one.
import { request } from './http.js';

/**
 * Calls `refresh` whenever something may be new, and `onDraft` with what the model is writing.
 * Whoever asks while a refresh is under way gets one more after it: it may have missed what they know of.
 */
export function follow(api, { refresh, onDraft, isMoving, onState }) {
  let running = false;
  let again = false;
  let gone = false;
  let live = false;
  let attempt = 0;
  let timer = 0;

  async function look() {
    again = true;
    if (running || gone) return;
    running = true;
    try {
      while (again && !gone) {
        again = false;
        if ((await refresh()).more) again = true;
      }
      onState('ok');
    } catch (error) {
      if (error.status === undefined) console.error(error); // ours, not the network's
      gone = error.status === 404;
      onState(gone ? 'gone' : 'lost', error);
    } finally {
      running = false;
    }
  }

  async function connect() {
    try {
      const { url } = await request('GET', `${api}/live`);
      if (!url || gone) return; // no channel here: looking now and then does
      const socket = new WebSocket(url, 'json.webpubsub.azure.v1');
      socket.onopen = () => {
        live = true;
        look(); // what came between the last look and now had no hint
        poll();
      };
      socket.onmessage = (event) => {
        attempt = 0;
        const message = JSON.parse(event.data);
        if (message.type !== 'message') return;
        if (message.data?.draft) onDraft(message.data.draft);
        else look();
      };
      socket.onclose = () => {
        live = false;
        poll();
        reconnect();
      };
    } catch {
      reconnect();
    }
  }

  function reconnect() {
    if (!gone) setTimeout(connect, Math.min(30_000, 1000 * 2 ** attempt++) * (0.5 + Math.random()));
  }

  /** Hints tell of items. While the machine comes or goes the phase moves without any, so look more often. */
  function poll() {
    clearTimeout(timer);
    if (gone) return;
    timer = setTimeout(async () => {
      if (!document.hidden) await look();
      poll();
    }, live && !isMoving() ? 15_000 : isMoving() ? 1000 : 3000);
  }

  document.addEventListener('visibilitychange', () => document.hidden || look());
  addEventListener('online', look);
  poll();
  connect();
  return look;
}
