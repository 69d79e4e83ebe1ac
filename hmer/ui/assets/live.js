// Recognise as you draw: a pause after a stroke asks for an answer, and no answer is seen that is about an older drawing.
// window.hmerLive counts the drawing's versions; an answer comes back with the version that it is about. It is also what
// puts an answer into the correction: the server never writes there, so that what somebody typed meanwhile stays.
() => {
  if (window.hmerLive) return;
  const PAUSE_MS = 600;
  const find = (selector) => document.querySelector(selector);
  const value = (id) => find(`#${id} textarea`)?.value ?? '';
  let version = 0;
  let timer;
  let pen = false; // on the sheet
  let asked = false; // and not answered yet
  let tried = 0; // the version that was asked about last: a blank sheet is not asked about for ever
  let typed = null; // the correction, where somebody wrote since the last answer was asked for
  let mended = false; // somebody changed the correction: it is not written over

  const on = () => find('#hm-live input')?.checked ?? false;
  const mark = (stale) => find('#hm-answer')?.classList.toggle('hm-stale', stale);

  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (pen || asked || version === tried || !on() || mended) return;
      asked = true;
      tried = version;
      find('#hm-live-run')?.click();
    }, PAUSE_MS);
  };
  const changed = () => {
    version += 1;
    if (on() && !mended) mark(true);
  };

  document.addEventListener('pointerdown', (event) => {
    const sheet = event.target.closest?.('#hm-sketch');
    if (!sheet) return;
    if (event.target.tagName === 'CANVAS') {
      pen = true;
      clearTimeout(timer);
      changed();
    } else if (/clear|undo|redo/i.test(event.target.closest('button')?.getAttribute('aria-label') || '')) {
      changed();
      later();
    }
  }, true);
  for (const end of ['pointerup', 'pointercancel']) {
    window.addEventListener(end, () => {
      if (!pen) return;
      pen = false;
      changed(); // once more: what was asked for in the middle of a stroke was not about the whole of it
      later();
    }, true);
  }
  document.addEventListener('change', (event) => {
    if (!event.target.closest?.('#hm-live')) return;
    if (on()) later();
    else mark(false);
  });

  document.addEventListener('input', (event) => {
    if (!event.target.closest?.('#hm-correction')) return;
    mended = event.target.value !== value('hm-latex');
    typed = event.target.value; // an answer may still be on its way, or be here and not yet be written
  }, true);

  // Undo and redo by key, except where text is being written.
  document.addEventListener('keydown', (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase();
    const name = key === 'y' || (key === 'z' && event.shiftKey) ? 'redo' : key === 'z' ? 'undo' : '';
    const sheet = find('#hm-sketch');
    if (!name || !sheet?.offsetParent || event.target.closest?.('input, textarea, [contenteditable=true]')) return;
    const button = [...sheet.querySelectorAll('button')].find((item) => new RegExp(name, 'i').test(item.getAttribute('aria-label') || ''));
    if (!button || button.disabled) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // or one key might undo twice
    button.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true })); // as the records of strokes expect
    button.click();
  }, true);

  window.hmerLive = {
    version: () => String(version),
    sent: () => { // what is asked now is about this version, and needs no second answer
      clearTimeout(timer);
      tried = version;
      typed = null;
      return String(version);
    },
    over: () => { // a request was answered, or was not
      asked = false;
      later();
    },
    answered: (ticket, latex) => { // gives what the correction is to be; no ticket: the answer is about another picture
      mended = ticket !== '' && typed !== null && typed !== latex;
      if (ticket === '' || ticket === String(version)) mark(false);
      return mended ? typed : latex;
    },
  };
}
