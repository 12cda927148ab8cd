// A new session: writes it down, opens its chat at once.
import { composer } from './composer.js';

const form = document.getElementById('new');

const writing = composer(form, {
  key: 'new',
  async send(post, { text, ...body }) {
    const session = await post('/api/sessions', { message: text, ...body });
    location.assign(session.links.page);
  },
});

for (const button of document.querySelectorAll('[data-template]')) {
  button.addEventListener('click', () => {
    const template = JSON.parse(button.dataset.template);
    for (const name of ['repository', 'model', 'effort']) form.elements[name].value = template[name] ?? '';
    writing.write(template.message);
  });
}
