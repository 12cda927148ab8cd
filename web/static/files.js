// Files for a message: picked, dropped or pasted, and shown as chips.
import { request } from './http.js';
import { t } from './words.js';

const LARGEST = 20 << 20;

/** Puts a file into a session; gives what a message names it by. */
export const uploadTo = (session, file) => request(
  'PUT',
  `/api/sessions/${encodeURIComponent(session)}/files?filename=${encodeURIComponent(file.name)}`,
  file,
  { 'Content-Type': file.type || 'application/octet-stream' },
);

/** The same without a session: it is named by its content. */
export async function refer(file) {
  const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
  const name = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return { name, filename: file.name, content_type: file.type || 'application/octet-stream', size: file.size };
}

/** `take(file)` is called for each as it comes and gives what a message names it by. */
export function attachments(form, take) {
  const list = form.querySelector('[data-files]');
  const input = form.querySelector('input[type=file]');
  const button = form.querySelector('[data-attach]');
  let files = [];

  function add(file) {
    const chip = document.createElement('li');
    const name = document.createElement('span');
    name.textContent = file.name;
    if (/^image\/(png|jpeg|gif|webp)$/.test(file.type)) {
      const image = document.createElement('img');
      image.alt = '';
      image.src = URL.createObjectURL(file);
      chip.append(image);
    }
    const remove = document.createElement('button');
    remove.type = 'button';
    remove.className = 'quiet mini';
    remove.textContent = '✕';
    remove.setAttribute('aria-label', t('remove', { name: file.name }));
    chip.append(name, remove);
    list.append(chip);
    const taking = file.size > LARGEST ? Promise.reject(new Error(t('too_large', { name: file.name }))) : take(file);
    const entry = { chip, taking, file };
    taking.catch((error) => {
      chip.classList.add('failed');
      name.textContent = error.message;
    });
    files.push(entry);
    remove.addEventListener('click', () => {
      files = files.filter((each) => each !== entry);
      chip.remove();
    });
  }

  button.addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    [...input.files].forEach(add);
    input.value = '';
  });
  form.addEventListener('paste', (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    [...event.clipboardData.files].forEach(add);
  });
  addEventListener('dragover', (event) => {
    if (!event.dataTransfer.types.includes('Files')) return;
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  addEventListener('dragleave', (event) => event.relatedTarget ?? document.body.classList.remove('dropping'));
  addEventListener('drop', (event) => {
    document.body.classList.remove('dropping');
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    [...event.dataTransfer.files].forEach(add);
  });

  return {
    files: () => files.map((each) => each.file),
    /** All of them, as a message names them. Throws what went wrong with one that is still listed. */
    ready: () => Promise.all(files.map((each) => each.taking)),
    clear() {
      files = [];
      list.replaceChildren();
    },
  };
}
