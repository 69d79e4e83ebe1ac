// What gradio leaves undone when the page is there:
// - no tool of the sketchpad is selected at first, so that drawing does nothing: take the pen;
// - the examples, which are pictures, and the answer's field have no names for screen readers.
() => {
  const whenThere = (selector, act, tries = 200) => {
    const found = document.querySelectorAll(selector);
    if (found.length) found.forEach(act);
    else if (tries) setTimeout(() => whenThere(selector, act, tries - 1), 50);
  };
  whenThere('#hm-sketch button[aria-label="Brush"]', (pen) => pen.click());
  whenThere('#hm-examples .gallery-item', (item, index) => item.setAttribute('aria-label', `Example ${index + 1}`));
  whenThere('#hm-latex textarea', (field) => field.setAttribute('aria-label', 'LaTeX of the answer'));
}
