// The last answers with their pictures, kept in this browser only. window.hmerHistory.add({latex, image}) takes a new one.
() => {
  if (window.hmerHistory) return;
  const KEY = 'hmer-history';
  const MOST = 24;
  const load = () => {
    try { return JSON.parse(localStorage.getItem(KEY)) ?? []; } catch { return []; }
  };
  const keep = (entries) => {
    for (let most = MOST; most >= 0; most -= 4) {
      try { localStorage.setItem(KEY, JSON.stringify(entries.slice(0, most))); return; } catch { /* full: fewer */ }
    }
  };
  const draw = () => {
    const place = document.getElementById('hm-history-list');
    if (!place) return;
    const entries = load();
    place.replaceChildren(...entries.map((entry) => {
      const button = document.createElement('button');
      const picture = document.createElement('img');
      const text = document.createElement('code');
      button.type = 'button';
      button.title = 'Copy the LaTeX';
      picture.alt = '';
      if (/^data:image\/png;base64,[A-Za-z0-9+/=]+$/.test(entry.image)) picture.src = entry.image;
      text.textContent = entry.latex;
      button.append(picture, text);
      button.addEventListener('click', () => window.hmerCopy?.words(entry.latex));
      return button;
    }));
    if (!entries.length) place.textContent = 'Nothing yet.';
  };
  window.hmerHistory = {
    add: (entry) => {
      keep([entry, ...load().filter((other) => other.image !== entry.image || other.latex !== entry.latex)]);
      draw();
    },
    show: (tries = 100) => { // what a closed accordion holds is not on the page yet
      if (document.getElementById('hm-history-list')) draw();
      else if (tries) setTimeout(window.hmerHistory.show, 50, tries - 1);
    },
    clear: () => { localStorage.removeItem(KEY); draw(); },
  };
}
