// Copying and saving: window.hmerCopy. Every way ends with a word in #hm-copied, which screen readers are told.
() => {
  if (window.hmerCopy) return;
  const value = (id) => document.querySelector(`#${id} textarea`)?.value ?? '';
  let forget;
  const say = (words) => {
    const place = document.getElementById('hm-copied');
    if (!place) return;
    place.textContent = words;
    clearTimeout(forget);
    forget = setTimeout(() => { place.textContent = ''; }, 4000);
  };

  // Where the page is not served from this computer or by https, browsers have no clipboard to offer.
  const copyByHand = (text) => {
    const field = document.createElement('textarea');
    field.value = text;
    field.style.position = 'fixed';
    document.body.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    if (!done) throw new Error('not copied');
  };
  const write = async (text) => {
    if (navigator.clipboard?.writeText) await navigator.clipboard.writeText(text);
    else copyByHand(text);
  };

  const forms = () => JSON.parse(value('hm-forms') || '{}');
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const text = async (form) => {
    const now = value('hm-correction');
    for (let tries = 0; forms().source !== now && tries < 30; tries += 1) await pause(100); // typed a moment ago
    const { source, problem, [form]: words } = forms();
    if (!now.trim()) return say('There is no formula yet.');
    if (source !== now || !words) return say(problem || 'Not copied: the formula is not well-formed yet.');
    try {
      await write(words);
      say(`Copied as ${{ latex: 'LaTeX', inline: 'LaTeX in a line', display: 'displayed LaTeX', mathml: 'MathML' }[form]}.`);
    } catch {
      say('The browser did not let the page copy; mark the LaTeX and press Ctrl+C.');
    }
  };

  const copyPicture = async (url) => {
    if (!url) return;
    try {
      const blob = await (await fetch(url)).blob();
      await navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
      say('Copied as a picture.');
    } catch {
      say('The browser did not let the page copy a picture; save it as PNG.');
    }
  };

  const save = (url) => {
    if (!url) return;
    const link = document.createElement('a');
    const kind = { 'image/png': 'png', 'image/svg+xml': 'svg', 'text/csv': 'csv' }[url.slice(5, url.indexOf(';'))];
    link.href = url;
    link.download = kind === 'csv' ? 'formulas.csv' : `formula.${kind}`;
    link.click();
    say(`Saved as ${link.download}.`);
  };

  const words = async (latex) => {
    try {
      await write(latex);
      say('Copied as LaTeX.');
    } catch {
      say('The browser did not let the page copy.');
    }
  };

  window.hmerCopy = { text, words, copyPicture, save };
}
