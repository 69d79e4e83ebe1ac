// The regions of a page: a press leaves one out or takes it in again, a drag moves an edge or a corner, and the mouse draws
// a new one on the paper. The table is what counts: every change goes into its rows, and the server need not be asked.
() => {
  if (window.hmerRegions) return;
  const LEAST = 4; // pixels of the page
  const MOVED = 3; // pixels of the screen: less is a press
  const pending = []; // changes of the rows [read, page, left, top, right, bottom, LaTeX, sure], not in the table yet
  let drag = null;
  let dragged = false; // the click that ends a drag is none

  const write = (change) => {
    pending.push(change);
    document.getElementById('hm-region-change').click();
  };
  const boxOf = (region) => region.dataset.box.split(',').map(Number);
  const sizeOf = (sheet) => [Number(sheet.dataset.wide), Number(sheet.dataset.tall)];
  const place = (region, box) => {
    const [wide, tall] = sizeOf(region.parentElement);
    const [left, top, right, bottom] = box;
    region.dataset.box = box.join(',');
    Object.assign(region.style, {
      left: `${(100 * left) / wide}%`, top: `${(100 * top) / tall}%`,
      width: `${(100 * (right - left)) / wide}%`, height: `${(100 * (bottom - top)) / tall}%`,
    });
  };
  const within = (value, low, high) => Math.round(Math.min(Math.max(value, low), high));

  const begin = (event, region, edge, fresh) => {
    const sheet = region.parentElement;
    drag = {
      region, edge, fresh, from: [event.clientX, event.clientY], box: boxOf(region),
      scale: sizeOf(sheet)[0] / sheet.getBoundingClientRect().width,
    };
    event.preventDefault(); // neither marks text nor drags the picture away
    region.setPointerCapture(event.pointerId);
  };
  const drawnAt = (event, sheet) => { // a new region, as yet of one point
    const edge = sheet.getBoundingClientRect();
    const [wide, tall] = sizeOf(sheet);
    const x = within(((event.clientX - edge.left) * wide) / edge.width, 0, wide - LEAST);
    const y = within(((event.clientY - edge.top) * tall) / edge.height, 0, tall - LEAST);
    const region = sheet.querySelector('template').content.firstElementChild.cloneNode(true);
    region.dataset.box = [x, y, x + LEAST, y + LEAST].join(',');
    sheet.append(region);
    return region;
  };

  document.addEventListener('pointerdown', (event) => {
    dragged = false;
    const sheet = event.target.closest?.('.hm-sheet');
    if (!sheet || event.button !== 0 || drag) return;
    const { edge } = event.target.dataset;
    if (edge) begin(event, event.target.parentElement, edge, false);
    else if (event.target.tagName === 'IMG' && event.pointerType === 'mouse') begin(event, drawnAt(event, sheet), 'se', true);
  });
  document.addEventListener('pointermove', (event) => {
    if (!drag) return;
    const moves = [event.clientX - drag.from[0], event.clientY - drag.from[1]];
    if (Math.hypot(...moves) > MOVED) dragged = true;
    if (!dragged) return;
    const [wide, tall] = sizeOf(drag.region.parentElement);
    const [x, y] = moves.map((move) => move * drag.scale);
    const [left, top, right, bottom] = drag.box;
    const { edge } = drag;
    place(drag.region, [
      edge.includes('w') ? within(left + x, 0, right - LEAST) : left,
      edge.includes('n') ? within(top + y, 0, bottom - LEAST) : top,
      edge.includes('e') ? within(right + x, left + LEAST, wide) : right,
      edge.includes('s') ? within(bottom + y, top + LEAST, tall) : bottom,
    ]);
  });
  const end = () => {
    if (!drag) return;
    const { region, fresh } = drag;
    drag = null;
    if (!dragged) {
      if (fresh) region.remove();
      return;
    }
    const box = boxOf(region);
    if (!fresh) {
      write((rows) => rows.map((row, index) => (index === Number(region.dataset.row) ? [row[0], row[1], ...box, '', ''] : row)));
      return;
    }
    write((rows) => {
      region.dataset.row = rows.length;
      region.querySelector('span').textContent = rows.length + 1;
      region.setAttribute('aria-label', `Region ${rows.length + 1}`);
      return [...rows, [true, region.parentElement.dataset.page, ...box, '', '']];
    });
  };
  document.addEventListener('pointerup', end);
  document.addEventListener('pointercancel', end);

  document.addEventListener('click', (event) => {
    const region = event.target.closest?.('.hm-region');
    if (!region || (dragged && event.detail)) return; // a key makes clicks without detail
    const read = region.getAttribute('aria-pressed') !== 'true';
    region.setAttribute('aria-pressed', String(read));
    write((rows) => rows.map((row, index) => (index === Number(region.dataset.row) ? [read, ...row.slice(1)] : row)));
  });

  window.hmerRegions = {
    written: (table) => {
      const data = pending.splice(0).reduce((rows, change) => change(rows), table.data);
      return { ...table, data, metadata: null }; // which would say how the old rows look
    },
  };
}
