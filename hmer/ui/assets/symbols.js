// The symbols of a formula: a click asks what else one might be, a click on an answer puts that into the field.
() => {
  if (window.hmerSymbols) return;
  window.hmerSymbols = true;
  const fieldOf = (element) => element.closest('[id$="-symbols"], [id$="-options"]')?.id.replace(/-(symbols|options)$/, '');

  document.addEventListener('click', (event) => {
    const chip = event.target.closest?.('.hm-chip');
    if (chip) {
      const field = fieldOf(chip);
      const again = chip.getAttribute('aria-pressed') === 'true';
      chip.parentElement.querySelectorAll('[aria-pressed]').forEach((other) => other.removeAttribute('aria-pressed'));
      const options = document.getElementById(`${field}-options`);
      if (again) { options.classList.add('hm-closed'); return; }
      chip.setAttribute('aria-pressed', 'true');
      options.classList.remove('hm-closed');
      window.hmerPlace = Number(chip.dataset.place);
      document.getElementById(`${field}-ask`).click();
      return;
    }
    const option = event.target.closest?.('.hm-options button');
    if (!option) return;
    const text = document.querySelector(`#${fieldOf(option)} textarea`);
    if (text.value !== option.parentElement.dataset.for) return;  // typed on meanwhile: that counts
    text.value = option.dataset.latex;
    text.dispatchEvent(new Event('input', { bubbles: true }));
  });
}
