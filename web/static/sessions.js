// The list: starts sessions, and fetches its own rows again.
'use strict';

(() => {
  const { once, showTimes, showProblem, sendOnKey, grow } = window.nightshift;
  const form = document.getElementById('new');
  const list = document.getElementById('sessions');
  const button = form.querySelector('button');
  const post = once();
  let shown = null;

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    const body = { message: form.elements.message.value.trim() };
    for (const name of ['repository', 'model']) {
      const value = form.elements[name].value.trim();
      if (value) body[name] = value;
    }
    if (!body.message) return;
    showProblem('');
    button.disabled = true;
    try {
      const session = await post('/api/sessions', body);
      location.assign(session.links?.page ?? `/sessions/${encodeURIComponent(session.id)}`);
      form.reset();
    } catch (error) {
      showProblem(error.message);
    } finally {
      button.disabled = false;
    }
  });

  async function refresh() {
    const url = new URL(location.href);
    url.searchParams.set('fragment', 'true');
    const response = await fetch(url);
    if (!response.ok) return;
    const html = await response.text();
    if (html === shown) return;
    shown = html;
    const focused = list.contains(document.activeElement) && document.activeElement.getAttribute('href');
    list.innerHTML = html;
    showTimes(list);
    if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  const tick = () => setTimeout(async () => {
    if (!document.hidden) await refresh().catch(() => { /* the next one may get through */ });
    tick();
  }, 3000);

  sendOnKey(form.elements.message);
  grow(form.elements.message);
  document.addEventListener('visibilitychange', () => document.hidden || refresh().catch(() => {}));
  tick();
})();
