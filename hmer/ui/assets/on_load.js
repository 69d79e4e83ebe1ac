// Gradio starts with no tool selected, so that drawing does nothing: choose the pen as soon as it is there.
() => {
  let tries = 0;
  const choosePen = () => {
    const pen = document.querySelector('#hm-sketch button[aria-label="Brush"]');
    if (pen) pen.click();
    else if (++tries < 200) setTimeout(choosePen, 50);
  };
  choosePen();
}
