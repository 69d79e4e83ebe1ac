// What gradio leaves undone when the page is there:
// - no tool of the sketchpad is selected at first, so that drawing does nothing: take the pen;
// - the examples, which are pictures, and the answer's field have no names for screen readers;
// - nor have check boxes in a table, each within a button that does the same, nor the sign of a column that stays as it is;
// - the button for other files is named by a key of its translations.
() => {
  const whenThere = (selector, act, tries = 200) => {
    const found = document.querySelectorAll(selector);
    if (found.length) found.forEach(act);
    else if (tries) setTimeout(() => whenThere(selector, act, tries - 1), 50);
  };
  whenThere('#hm-sketch button[aria-label="Brush"]', (pen) => pen.click());
  whenThere('#hm-examples .gallery-item', (item, index) => item.setAttribute('aria-label', `Example ${index + 1}`));
  whenThere('#hm-latex textarea', (field) => field.setAttribute('aria-label', 'LaTeX of the answer'));

  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
  const nameAll = () => {
    each('.bool-cell[role="button"], .select-all-checkbox[role="button"]', (cell) => cell.removeAttribute('role'));
    each('.bool-cell input:not([aria-label])', (box) => box.setAttribute('aria-label', 'Read this region'));
    each('.select-all-checkbox input:not([aria-label])', (box) => box.setAttribute('aria-label', 'Read all regions'));
    each('[aria-label="Static column"]:not([role])', (sign) => sign.setAttribute('role', 'img'));
    each('[aria-label="common.upload"]', (button) => {
      button.setAttribute('aria-label', 'Upload');
      button.title = 'Upload';
    });
  };
  let due = false; // many changes of the page, one look
  new MutationObserver(() => {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; nameAll(); }, 100);
  }).observe(document.body, { childList: true, subtree: true });
}
