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

keys.addEventListener('click', (event) => {
  const button = event.target.closest('[data-revoke]');
  if (!button) return;
  let undone = false;
  button.closest('tr').classList.add('going');
  say(t('revoked'), t('undo'), () => {
    undone = true;
    button.closest('tr').classList.remove('going');
  }, 5000);
  setTimeout(() => undone || attempt(async () => {
    await request('DELETE', `/api/keys/${button.dataset.revoke}`);
    await showKeys();
  }), 5000);
});
