// The desk by keys, and what gradio has no component for: symbols put where the cursor is.
// A key presses the button of its name, if that can be seen; in a text field only Ctrl+Enter and Esc count.
() => {
  if (window.hmerDesk) return;
  window.hmerDesk = true;
  const KEYS = {
    a: 'hm-q-accept', d: 'hm-q-draft', s: 'hm-q-skip', i: 'hm-q-illegible', n: 'hm-q-not_a_formula', v: 'hm-q-several',
    b: 'hm-q-bad_crop', u: 'hm-q-undo', arrowleft: 'hm-q-previous', arrowright: 'hm-q-next',
  };
  const seen = (element) => element && element.offsetParent !== null;
  const press = (id) => {
    const button = document.getElementById(id);
    if (!seen(button) || button.disabled) return false;
    button.click();
    return true;
  };
  // One decision at a time: requests may overtake each other, and what was pressed first must count.
  const OVERTAKEN_MS = 3000;
  let decided = { item: null, at: 0 };
  const decide = (id) => {
    const item = document.getElementById('hm-q-facts')?.dataset.id ?? null;
    if (item !== null && item === decided.item && performance.now() - decided.at < OVERTAKEN_MS) return true;
    const done = press(id);
    if (done && !id.endsWith('previous') && !id.endsWith('next')) decided = { item, at: performance.now() };
    return done;
  };
  // What was refused may be sent again as soon as it is mended.
  document.addEventListener('input', () => { decided = { item: null, at: 0 }; }, true);

  document.addEventListener('keydown', (event) => {
    const field = document.querySelector('#hm-q-text textarea');
    const typing = event.target.closest('input:not([type=radio]):not([type=checkbox]), textarea, [contenteditable=true], [role=listbox]');
    const key = event.key.toLowerCase();
    let done = false;
    if (key === 'enter' && (event.ctrlKey || event.metaKey)) done = event.repeat || decide('hm-q-accept') || press('hm-g-accept');
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (key === 'escape' && typing) { event.target.blur(); done = true; }
    else if (typing) return;
    else if (event.repeat && !key.startsWith('arrow')) return;  // a key held down would decide on what nobody has seen
    else if (key === 'e' && seen(field)) { field.focus(); done = true; }
    else if (/^[1-9]$/.test(key)) {
      const option = document.querySelectorAll('#hm-q-text-options .hm-options button')[Number(key) - 1];
      const reading = document.querySelectorAll('#hm-q-alternatives label')[Number(key) - 1];
      if (seen(option)) { option.click(); done = true; }
      else if (seen(reading)) { reading.click(); reading.querySelector('input')?.blur(); done = true; }
      else {
        const mark = document.querySelectorAll('.hm-cell input[type=checkbox]')[Number(key) - 1];
        if (seen(mark)) { mark.click(); done = true; }
      }
    } else if (KEYS[key]) done = decide(KEYS[key]);
    if (done) { event.preventDefault(); event.stopPropagation(); }
  }, true);

  // A sheet begins without a tool: take the pen, each time that its tab is opened anew.
  setInterval(() => {
    const pen = document.querySelector('#hm-write button[aria-label="Brush"]');
    if (seen(pen) && !pen.dataset.taken) { pen.dataset.taken = 'yes'; if (!pen.classList.contains('highlight')) pen.click(); }
  }, 300);

  document.addEventListener('mousedown', (event) => {
    const button = event.target.closest('.hm-palette button');
    if (!button) return;
    event.preventDefault();  // the cursor stays in the field
    const field = document.querySelector(`#${button.parentElement.dataset.field} textarea`);
    const symbol = button.dataset.insert;
    const [start, end] = [field.selectionStart, field.selectionEnd];
    const before = field.value.slice(0, start);
    // A command must not grow together with a letter after it.
    const gap = /\\[a-zA-Z]+$/.test(symbol) && /^[a-zA-Z]/.test(field.value.slice(end)) ? ' ' : '';
    field.value = before + symbol + gap + field.value.slice(end);
    const hole = symbol.indexOf('{}');
    const cursor = before.length + (hole < 0 ? symbol.length + gap.length : hole + 1);
    field.focus();
    field.setSelectionRange(cursor, cursor);
    field.dispatchEvent(new Event('input', { bubbles: true }));
  });
}
