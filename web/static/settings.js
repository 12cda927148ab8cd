// Look, preferences, templates and API keys.
import { fragment, request, uuid } from './http.js';
import { attempt, replace, say, setLanguage, setTheme } from './page.js';
import { t } from './words.js';

const form = document.getElementById('preferences');
const templates = document.getElementById('templates');
const keys = document.getElementById('keys');
const made = document.getElementById('made-key');

document.getElementById('theme').addEventListener('change', (event) => setTheme(event.target.value));
document.getElementById('language').addEventListener('change', (event) => setLanguage(event.target.value));

const field = (box, name) => box.querySelector(`[name=${name}]`).value.trim();

form.addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(async () => {
    await request('PUT', '/api/preferences', {
      model: form.elements.model.value.trim() || null,
      effort: form.elements.effort.value || null,
      prompt: form.elements.prompt.value.trim(),
      templates: [...templates.children].map((box) => ({
        name: field(box, 'name'),
        repository: field(box, 'repository') || null,
        message: field(box, 'message'),
        agent: box.querySelector('[name=agent]')?.value || null,
      })),
    });
    say(t('saved'));
  });
});

document.getElementById('add-template').addEventListener('click', () => {
  templates.append(document.getElementById('new-template').content.cloneNode(true));
  templates.lastElementChild.querySelector('input').focus();
});
templates.addEventListener('click', (event) => event.target.closest('[data-remove]')?.closest('fieldset').remove());

const showKeys = async () => {
  const html = await fragment('/settings/keys');
  if (html) replace(keys, html);
};

document.getElementById('new-key').addEventListener('submit', (event) => {
  event.preventDefault();
  const fields = new FormData(event.target);
  attempt(async () => {
    const answer = await request('POST', '/api/keys', { scopes: fields.getAll('scope'), days: Number(fields.get('days')) }, { 'Idempotency-Key': uuid() });
    made.querySelector('pre').textContent = answer.text;
    made.hidden = false;
    await showKeys();
  });
});

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-delete]');
  if (!button) return;
  const row = button.closest('tr');
  let undone = false;
  row.classList.add('going');
  say(button.dataset.said, t('undo'), () => {
    undone = true;
    row.classList.remove('going');
  }, 5000);
  setTimeout(() => undone || attempt(async () => {
    await request('DELETE', button.dataset.delete);
    const rows = row.parentElement.children;
    (rows.length > 1 ? row : row.closest('table')).remove();
  }), 5000);
});
