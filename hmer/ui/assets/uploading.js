// A picture pasted anywhere on the page is an upload, and what is cut out of an upload takes its place.
() => {
  if (window.hmerCrop) return;
  const find = (selector) => document.querySelector(selector);

  // Put a file where somebody would have chosen one: gradio does the rest.
  const upload = (file) => {
    const tabs = [...document.querySelectorAll('#hm-input button[role=tab]')];
    tabs.find((tab) => tab.textContent.trim() === 'Upload')?.click();
    const hand = (tries) => {
      const input = find('#hm-upload input[type=file]');
      if (!input) {
        find('#hm-upload button[aria-label*="Clear" i], #hm-upload button[aria-label*="Remove" i]')?.click();
        if (tries) setTimeout(hand, 50, tries - 1);
        return;
      }
      const list = new DataTransfer();
      list.items.add(file);
      input.files = list.files;
      input.dispatchEvent(new Event('change', { bubbles: true }));
    };
    hand(60);
  };

  document.addEventListener('paste', (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith('image/'));
    if (!file || !find('#hm-input')) return; // text goes where it always went
    event.preventDefault();
    event.stopPropagation();
    upload(file);
  }, true);

  // A frame drawn over the picture; let go, and the part inside is the upload.
  let frame = null;
  const stop = () => { frame?.remove(); frame = null; };
  const start = () => {
    stop();
    const picture = find('#hm-upload img');
    if (!picture?.naturalWidth) return;
    const box = picture.getBoundingClientRect();
    // The picture may be letterboxed in its element.
    const scale = Math.min(box.width / picture.naturalWidth, box.height / picture.naturalHeight);
    const wide = picture.naturalWidth * scale;
    const tall = picture.naturalHeight * scale;
    frame = document.createElement('div');
    frame.className = 'hm-crop';
    Object.assign(frame.style, {
      left: `${box.left + (box.width - wide) / 2 + scrollX}px`, top: `${box.top + (box.height - tall) / 2 + scrollY}px`,
      width: `${wide}px`, height: `${tall}px`,
    });
    const part = document.createElement('div');
    frame.append(part);
    document.body.append(frame);
    let from = null;
    const point = (event) => {
      const edge = frame.getBoundingClientRect();
      return [Math.min(Math.max(event.clientX - edge.left, 0), wide), Math.min(Math.max(event.clientY - edge.top, 0), tall)];
    };
    const area = (to) => [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    frame.addEventListener('pointerdown', (event) => { from = point(event); frame.setPointerCapture(event.pointerId); });
    frame.addEventListener('pointermove', (event) => {
      if (!from) return;
      const [left, top, width, height] = area(point(event));
      Object.assign(part.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    });
    frame.addEventListener('pointerup', (event) => {
      const [left, top, width, height] = area(point(event)).map((length) => length / scale);
      stop();
      if (width < 4 || height < 4) return;
      const canvas = document.createElement('canvas');
      canvas.width = Math.round(width);
      canvas.height = Math.round(height);
      canvas.getContext('2d').drawImage(picture, left, top, width, height, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => upload(new File([blob], 'cut.png', { type: 'image/png' })));
    });
  };
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') stop(); });
  window.hmerCrop = { start };
}
