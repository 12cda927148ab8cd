// The editor of an agent: what the server finds wrong stands at its field.
import { once, request } from './http.js';
import { grow, showProblem } from './page.js';

const form = document.getElementById('agent');
const { id, revision } = form.dataset;
const tools = [...form.querySelectorAll('[name=tools]')];
const post = once();

form.querySelectorAll('textarea').forEach(grow);

function mark(errors) {
  form.querySelectorAll('.problem').forEach((each) => each.remove());
  form.querySelectorAll('[aria-invalid]').forEach((each) => {
    each.removeAttribute('aria-invalid');
    each.removeAttribute('aria-errormessage');
  });
  for (const { field, message } of errors) {
    const control = form.querySelector(`[name="${CSS.escape(field.split('.')[0])}"]`);
    if (!control) continue;
    const told = document.createElement('p');
    told.className = 'problem whole';
    told.id = `${control.name}-fault`;
    told.textContent = message;
    control.setAttribute('aria-invalid', 'true');
    control.setAttribute('aria-errormessage', told.id);
    control.closest('label').after(told);
  }
  form.querySelector('[aria-invalid]')?.focus();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = (name) => form.elements[name].value.trim();
  const chosen = tools.filter((box) => box.checked);
  const body = {
    name: text('name'),
    description: text('description'),
    prompt: text('prompt'),
    model: text('model') || null,
    effort: text('effort') || null,
    budget_usd: Number(text('budget_usd')) || null,
    tools: chosen.length === tools.length ? null : chosen.map((box) => box.value),
    mcp: text('mcp') || null,
  };
  mark([]);
  showProblem('');
  try {
    if (id) await request('PUT', `/api/agents/${id}`, { ...body, revision: Number(revision) });
    else await post('/api/agents', { ...body, team: Boolean(form.elements.team?.checked) });
    location.assign('/settings#agents');
  } catch (error) {
    showProblem(error.message);
    mark(error.errors ?? []);
    if (!form.querySelector('[aria-invalid]')) scrollTo(0, 0);
  }
});
