// Files for a message: picked, dropped or pasted; uploaded at once, shown as chips.
import { t } from './words.js';

const LARGEST = 20 << 20;

export function attachments(form, upload) {
  const list = form.querySelector('[data-files]');
  const input = form.querySelector('input[type=file]');
  const button = form.querySelector('[data-attach]');
  let files = [];
  if (!upload) {
    button.hidden = true;
    return { ready: async () => [], clear() {} };
  }

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
    const uploading = file.size > LARGEST ? Promise.reject(new Error(t('too_large', { name: file.name }))) : upload(file);
    const entry = { chip, uploading };
    uploading.catch((error) => {
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
    /** All of them, uploaded. Throws what went wrong with one that is still listed. */
    ready: () => Promise.all(files.map((each) => each.uploading)),
    clear() {
      files = [];
      list.replaceChildren();
    },
  };
}
