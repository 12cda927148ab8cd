// What the model is writing right now, until the item of the same id is in the conversation. docs/api.md has the rules.

const parts = (id) => id.split('.').map(Number);

/** `box` shows the drafts, `isThere(id)` says whether an item has come. */
export function drafts(box, isThere) {
  const shown = new Map(); // id -> { element, text }

  function remove(id) {
    shown.get(id)?.element.remove();
    shown.delete(id);
  }

  function show({ id, kind, offset, text }) {
    const [turn, reply, number] = parts(id);
    for (const other of [...shown.keys()]) {
      const [itsTurn, itsReply, itsNumber] = parts(other);
      if (itsTurn !== turn || itsReply !== reply || itsNumber > number) remove(other); // the reply began anew, or is another
    }
    if (!text || isThere(id)) {
      remove(id);
      return;
    }
    if (!shown.has(id)) {
      const element = document.createElement('p');
      element.className = `draft ${kind}`;
      box.append(element);
      shown.set(id, { element, text: '' });
    }
    const draft = shown.get(id);
    draft.text = (draft.text.length >= offset ? draft.text.slice(0, offset) : '… ') + text;
    draft.element.textContent = draft.text;
  }

  return {
    show,
    /** Takes away what has become an item, or everything when nobody is at work. */
    settle(working) {
      for (const id of [...shown.keys()]) if (!working || isThere(id)) remove(id);
    },
  };
}
