// Where a message is written: drafts survive, a message whose answer was lost is sent once, files come along.
import { once } from './http.js';
import { attachments } from './files.js';
import { grow, sendOnKey, showProblem } from './page.js';

/**
 * `form` has a textarea, a picker for files, and fields. `take(file)` gives its FileRef; `send(post, body,
 * files)` posts it. The draft is kept under `key` until it was sent.
 */
export function composer(form, { key, take, send }) {
  const area = form.querySelector('textarea');
  const post = once();
  const fit = grow(area);
  const files = attachments(form, take);
  const draft = `nightshift draft ${key}`;
  let sending = false;

  function keep() {
    const fields = Object.fromEntries(new FormData(form));
    try {
      if (Object.values(fields).some(Boolean)) localStorage.setItem(draft, JSON.stringify(fields));
      else localStorage.removeItem(draft);
    } catch { /* no room, or not allowed: then it is not kept */ }
  }

  function restore() {
    try {
      const fields = JSON.parse(localStorage.getItem(draft)) ?? {};
      form.elements.plan.checked = fields.plan;
      for (const [name, value] of Object.entries(fields)) if (form.elements[name] && !form.elements[name].value) form.elements[name].value = value;
    } catch { /* not ours */ }
    fit();
  }

  form.addEventListener('input', keep);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const text = area.value.trim();
    if (!text || sending) return;
    sending = true;
    showProblem('');
    form.querySelector('.send').disabled = true;
    try {
      const body = { text, files: await files.ready() };
      for (const name of ['model', 'effort', 'repository', 'agent']) {
        const value = form.elements[name]?.value.trim();
        if (value) body[name] = value;
      }
      if (form.elements.budget_usd?.value) body.budget_usd = Number(form.elements.budget_usd.value);
      if (form.elements.plan.checked) body.plan = true;
      if (!body.files.length) delete body.files;
      area.value = '';
      fit();
      await send(post, body, files.files());
      files.clear();
      form.elements.plan.checked = false;
      keep();
    } catch (error) {
      area.value = area.value ? `${text}\n${area.value}` : text;
      fit();
      showProblem(error.message);
    } finally {
      sending = false;
      form.querySelector('.send').disabled = false;
      area.focus();
    }
  });

  sendOnKey(area);
  restore();
  return {
    write(text) {
      area.value = text;
      fit();
      keep();
      area.focus();
    },
  };
}
