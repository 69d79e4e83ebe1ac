// The pen's strokes beside the drawing: window.hmerStrokes(sheet) gives them as JSON, [[[x, y, t], ...], ...], in pixels
// of the screen and seconds, or '' when they would not be what is seen: after erasing, undoing or redoing.
() => {
  if (window.hmerStrokes) return;
  const SHEETS = '#hm-sketch, #hm-write';
  const records = {};
  const blank = () => ({ strokes: [], exact: true, start: null, open: null });
  const recordOf = (sheet) => (records[sheet.id] ??= blank());

  const point = (sheet, event) => {
    const box = sheet.querySelector('canvas').getBoundingClientRect();
    const record = recordOf(sheet);
    record.start ??= event.timeStamp;
    const rounded = (value, digits) => Number(value.toFixed(digits));
    return [
      rounded(event.clientX - box.left, 2),
      rounded(event.clientY - box.top, 2),
      rounded((event.timeStamp - record.start) / 1000, 4),
    ];
  };

  document.addEventListener('pointerdown', (event) => {
    const sheet = event.target.closest?.(SHEETS);
    if (!sheet) return;
    const record = recordOf(sheet);
    const button = event.target.closest('button');
    if (button) {
      const name = button.getAttribute('aria-label') || '';
      if (/clear/i.test(name)) records[sheet.id] = blank();
      else if (/undo|redo/i.test(name)) record.exact = false;
    } else if (event.target.tagName === 'CANVAS') {
      if (!sheet.querySelector('button[aria-label="Brush"].highlight')) { record.exact = false; return; }
      record.open = [point(sheet, event)];
      record.strokes.push(record.open);
    }
  }, true);

  window.addEventListener('pointermove', (event) => {
    for (const [id, record] of Object.entries(records)) {
      const sheet = document.getElementById(id);
      if (!record.open || !sheet) continue;
      const all = event.getCoalescedEvents?.() ?? [];
      for (const step of all.length ? all : [event]) record.open.push(point(sheet, step));
    }
  }, true);

  for (const end of ['pointerup', 'pointercancel']) {
    window.addEventListener(end, () => Object.values(records).forEach((record) => { record.open = null; }), true);
  }

  window.hmerStrokes = (id) => {
    const record = records[id];
    return record && record.exact && record.strokes.length ? JSON.stringify(record.strokes) : '';
  };
  window.hmerForgetStrokes = (id) => { delete records[id]; };
}
