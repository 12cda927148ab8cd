// Requests with readable errors, and keys that make a retry harmless.
import { t } from './words.js';

// randomUUID exists on https and localhost only; a laptop's plain address in the office network is neither.
export const uuid = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');

/** JSON of the answer, or null if it has none. Throws an Error whose message is the problem's `detail`, with its `errors`. */
export async function request(method, url, body, headers = {}) {
  const isJson = body !== undefined && !(body instanceof Blob);
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: { Accept: 'application/json', ...(isJson && { 'Content-Type': 'application/json' }), ...headers },
      body: isJson ? JSON.stringify(body) : body,
    });
  } catch {
    throw Object.assign(new Error(t('unreachable')), { status: 0 });
  }
  const text = await response.text();
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch { /* a proxy's HTML page: the status says enough */ }
  if (response.ok) return json;
  const detail = typeof json?.detail === 'string' ? json.detail : json?.title;
  throw Object.assign(new Error(detail || t('answered', { status: response.status })), { status: response.status, errors: json?.errors });
}

/** HTML of a fragment, or null while it is not to be had: the next look may get through. */
export async function fragment(url) {
  try {
    const response = await fetch(url, { headers: { Accept: 'application/json' } });
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}

/** Posts a body under one key until it succeeds, so that trying again never does it twice. */
export function once() {
  let last = { body: null, key: null };
  return async (url, body) => {
    const text = JSON.stringify(body);
    if (last.body !== text) last = { body: text, key: uuid() };
    const answer = await request('POST', url, body, { 'Idempotency-Key': last.key });
    last = { body: null, key: null };
    return answer;
  };
}
