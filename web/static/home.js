// A new session: writes it down, opens its chat at once.
import { composer } from './composer.js';
import { refer, uploadTo } from './files.js';

const form = document.getElementById('new');
let begun = { body: null, session: null }; // a second try after a lost upload goes on with the same session

const writing = composer(form, {
  key: 'new',
  take: refer, // there is no session yet to put it into
  async send(post, { text, ...body }, files) {
    const asked = JSON.stringify([text, body]);
    if (begun.body !== asked) begun = { body: asked, session: await post('/api/sessions', { message: text, ...body }) };
    const { session } = begun;
    await Promise.all(files.map((file) => uploadTo(session.id, file))); // the last one begins it
    location.assign(session.links.page);
  },
});

const agent = form.elements.agent;

/** What its sessions begin with is shown, and may be changed. */
function choose() {
  const begins = JSON.parse(agent.selectedOptions[0].dataset.begins);
  for (const [name, value] of Object.entries(begins)) form.elements[name].value = value ?? '';
}
agent?.addEventListener('change', choose);

for (const button of document.querySelectorAll('[data-template]')) {
  button.addEventListener('click', () => {
    const template = JSON.parse(button.dataset.template);
    if (agent) {
      agent.value = template.agent ?? '';
      if (!agent.value) agent.value = ''; // it was deleted
      choose();
    }
    form.elements.repository.value = template.repository ?? '';
    for (const name of ['model', 'effort']) if (template[name] || !agent?.value) form.elements[name].value = template[name] ?? '';
    writing.write(template.message);
  });
}
