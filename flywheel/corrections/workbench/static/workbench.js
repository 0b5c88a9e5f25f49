/* Keys, autosave and timing of the workbench. Everything that changes something is a button; a key presses its button. */
(() => {
  'use strict';
  const IDLE_MS = 60000;
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const editor = () => one('#editor');
  const openDialog = () => all('dialog[open]').pop();
  /* what the script says by itself, in the page's language */
  let words = {};
  try { words = JSON.parse(one('meta[name=words]')?.content || '{}'); } catch { words = {}; }
  const t = (text) => words[text] || text;
  const isText = (el) => !!el && el.matches('textarea, select, input:not([type=radio]):not([type=checkbox]):not([type=hidden])');
  let waiting = 0;        // requests under way that will draw the page anew
  const later = [];       // keys pressed meanwhile: they are meant for what is about to be drawn
  let active = null;      // name of the field that digits and `e` go to

  /* ---- time: active means no pause over a minute ---- */
  let clock = { item: null };
  const startClock = () => {
    const form = editor();
    if (!form || clock.item === form.dataset.item) return;
    let before = {};
    try { before = JSON.parse(one('[data-effort-so-far]')?.dataset.effortSoFar || '{}'); } catch { before = {}; }
    clock = { item: form.dataset.item, active: before.active_ms || 0, keys: before.keystrokes || 0, first: before.first_edit_ms ?? null,
      opened: before.opened_at || new Date().toISOString(), last: performance.now() };
  };
  const tick = () => {
    const now = performance.now(), gap = now - (clock.last ?? now);
    if (gap < IDLE_MS) clock.active += gap;
    clock.last = now;
  };
  const edited = () => { if (clock.item && clock.first === null) { tick(); clock.first = clock.active; } };
  const effort = () => {
    tick();
    const told = { active_ms: Math.round(clock.active), keystrokes: clock.keys, opened_at: clock.opened };
    if (clock.first !== null) told.first_edit_ms = Math.round(clock.first);
    return JSON.stringify(told);
  };
  for (const kind of ['pointermove', 'pointerdown', 'wheel', 'keydown']) document.addEventListener(kind, () => clock.item && tick(), { passive: true });

  /* ---- the timeline ---- */
  const steps = () => all('[data-step]');
  const select = (index, scroll = true) => {
    const input = one('[data-selected]');
    if (!input) { if (scroll) one(`.run [data-index="${index}"]`)?.scrollIntoView({ block: 'center' }); return; }
    input.value = index;
    for (const step of steps()) {
      const here = step.dataset.step === String(index);
      step.classList.toggle('selected', here);
      if (here) { step.setAttribute('aria-current', 'step'); if (scroll) step.scrollIntoView({ block: 'nearest' }); } else step.removeAttribute('aria-current');
    }
  };
  const move = (by) => {
    const list = steps(), here = list.findIndex((step) => step.classList.contains('selected'));
    const next = list[Math.min(Math.max(here + by, 0), list.length - 1)];
    if (next) select(next.dataset.step);
  };
  const drawTimeline = () => {
    const form = editor();
    if (!form) return;
    const accepted = Number(form.dataset.accepted), marked = form.dataset.marked === '' ? Infinity : Number(form.dataset.marked);
    for (const step of all('.run [data-index]')) {
      const index = Number(step.dataset.index), agent = step.classList.contains('assistant');
      step.classList.toggle('accepted', agent && index <= accepted && index < marked);
      step.classList.toggle('marked', index === marked);
      step.classList.toggle('stale', index > marked);
      const mark = one('.mark', step);
      if (mark) mark.textContent = index === marked ? t('first wrong step') : index > marked ? t('stale') : agent && index <= accepted ? t('right') : '';
    }
    if (marked !== Infinity) { select(marked, true); return; }
    const chosen = Number(one('[data-selected]')?.value ?? -1);
    const next = accepted >= chosen ? steps().find((step) => Number(step.dataset.step) > accepted) : null;
    select(next ? next.dataset.step : chosen);
  };

  /* ---- fields ---- */
  const fields = () => all('#editor .field').filter((field) => !['object', 'array'].includes(field.dataset.widget));
  const inputOf = (field) => one('input:not([type=hidden]):checked, input:not([type=hidden]), textarea', field);
  const activate = (field) => {
    active = field ? field.dataset.field : null;
    for (const other of all('#editor .field')) other.classList.toggle('active', other === field);
  };
  const activeField = () => fields().find((field) => field.dataset.field === active) || null;
  const chooseActive = () => {
    const list = fields();
    activate(list.find((field) => 'bad' in field.dataset) || activeField() || list.find((field) => field.dataset.widget === 'choice') || list[0] || null);
  };
  const focusField = (field) => {
    if (!field) return;
    activate(field);
    const input = inputOf(field);
    input?.focus();
    if (isText(input) && input.select) input.select();
  };
  const beside = (field, by) => { const list = fields(); return list[list.indexOf(field) + by]; };
  const live = () => { const node = one('#live'); if (node) htmx.trigger(node, 'edited'); };
  const touched = (field, text) => {
    const state = one(':scope > [data-state]', field);
    if (state) state.value = text === '' && 'optional' in field.dataset ? 'absent' : 'given';
    for (let outer = field.parentElement?.closest('.field'); outer; outer = outer.parentElement?.closest('.field')) {
      const held = one(':scope > [data-state]', outer);
      if (held && text !== '') held.value = 'given';
    }
    field.classList.add('touched');
    edited();
    live();
  };
  const put = (field, text) => {
    const input = inputOf(field);
    if (!isText(input)) return;
    input.value = text;
    input.setSelectionRange?.(text.length, text.length);
    touched(field, text);
  };
  const chooseDigit = (digit) => {
    const isChoice = (field) => field?.dataset.widget === 'choice';
    const field = isChoice(activeField()) ? activeField() : fields().find((one) => isChoice(one) && 'bad' in one.dataset) || fields().find(isChoice);
    const radio = field && one(`input[data-digit="${digit}"]`, field);
    if (!radio) return false;
    radio.checked = true;
    activate(field);
    touched(field, radio.value);
    return true;
  };
  const pick = (field, number) => {
    const button = field && one(`[data-pick="${number}"]`, field);
    if (button) put(field, button.dataset.value);
    return !!button;
  };
  const walkPicks = (field, by) => {
    const values = all('[data-pick]', field).map((button) => button.dataset.value);
    if (!values.length) return false;
    const here = values.indexOf(inputOf(field).value);
    put(field, values[(here + by + values.length) % values.length]);
    return true;
  };

  /* ---- dialogs ---- */
  const show = (id) => {
    const dialog = document.getElementById(id);
    if (!dialog || dialog.open) return;
    dialog.showModal();
    const filter = one('.filter', dialog);
    if (filter) { filter.value = ''; narrow(dialog); filter.focus(); } else document.activeElement?.blur();
  };
  const narrow = (dialog) => {
    const wanted = one('.filter', dialog).value.toLowerCase();
    let number = 0;
    for (const item of all('.choices li', dialog)) {
      const fits = item.textContent.toLowerCase().includes(wanted), button = one('button', item);
      item.hidden = !fits;
      const digit = fits && ++number <= 9 ? String(number) : '';
      button.dataset.key = digit;
      one('kbd', button).textContent = digit;
    }
  };
  const say = (text) => {
    const box = one('#notice');
    box.replaceChildren();
    if (!text) return;
    const note = document.createElement('div'), line = document.createElement('p');
    note.className = 'refusal mild';
    line.textContent = text;
    note.append(line);
    box.append(note);
  };

  /* ---- commands ---- */
  const ACTS = {
    next: () => move(1), back: () => move(-1), help: () => show('help'), close: () => openDialog()?.close(), dismiss: () => say(''),
    edit: () => { if (!activeField()) chooseActive(); focusField(activeField()); },
  };
  const decide = (button) => {
    const dialog = button.closest('dialog'), words = button.dataset.pickWords ?? (dialog ? one('[data-words]', dialog)?.value : '') ?? '';
    if (dialog && !words.trim()) { one('[data-words]', dialog).focus(); return; }
    one('[data-said]').value = words;
    const send = one('#decide');
    send.value = button.dataset.decide;
    send.click();
  };
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button, a, [data-step]');
    if (!button) return;
    if (button.dataset.why) { event.preventDefault(); say(button.dataset.why); return; }
    if (button.dataset.act) ACTS[button.dataset.act]?.();
    else if (button.dataset.dialog) show(button.dataset.dialog);
    else if (button.dataset.decide !== undefined) decide(button);
    else if (button.dataset.pick) put(button.closest('.field'), button.dataset.value);
    else if (button.dataset.step !== undefined && !button.matches('button')) select(button.dataset.step, false);
  });
  const press = (name, root) => {
    const found = all(`[data-key="${CSS.escape(name)}"]`, root).find((button) => !button.disabled && button.closest('dialog') === (root.closest?.('dialog') || null) && !button.closest('[hidden]'));
    if (!found) return false;
    if (isText(found)) found.focus(); else found.click();
    return true;
  };

  /* ---- keys ---- */
  const inField = (event, input) => {
    const field = input.closest('.field');
    if (event.key === 'Escape') { event.preventDefault(); say(''); if (openDialog() && !field) openDialog().close(); else input.blur(); return; }
    if (event.altKey && /^Digit[1-9]$/.test(event.code)) { if (pick(field, event.code.slice(5))) event.preventDefault(); return; }
    if (!input.matches('textarea') && field && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      if (walkPicks(field, event.key === 'ArrowDown' ? 1 : -1)) event.preventDefault();
      return;
    }
    if (event.key !== 'Enter' || input.matches('textarea')) return;
    if (input.matches('.filter')) { event.preventDefault(); one('.choices li:not([hidden]) button', openDialog())?.click(); return; }
    if (!field) return;
    event.preventDefault();
    const next = beside(field, 1);
    if (next) focusField(next); else input.blur();
  };
  const command = (event) => {
    const dialog = openDialog(), root = dialog || document;
    const here = document.activeElement;
    if (event.key === 'Enter' && here?.matches('button:focus-visible, a:focus-visible, summary:focus-visible')) return;
    if (event.key === 'Escape') { if (!dialog) { say(''); here?.blur?.(); } return; }
    if (event.key === 'Tab') {
      if (dialog || event.shiftKey || !editor() || (here && here !== document.body)) return;
      if (fields().length) { event.preventDefault(); focusField(activeField() || fields()[0]); }
      return;
    }
    if (event.ctrlKey || event.altKey) return;
    if (/^[0-9]$/.test(event.key)) {
      if (press(event.key, root) || (!dialog && chooseDigit(event.key))) event.preventDefault();
      return;
    }
    const name = event.key === '\\' ? 'r' : event.key;
    if (press(name, root)) event.preventDefault();
  };
  const onKey = (event) => {
    if (event.isComposing || event.metaKey || ['Shift', 'Control', 'Alt'].includes(event.key)) return;
    if (event.isTrusted !== false) clock.keys = (clock.keys || 0) + 1;
    const input = document.activeElement;
    if (waiting && (!isText(input) || event.key === 'Enter') && event.key !== 'Tab') { event.preventDefault(); later.push({ key: event.key, code: event.code, ctrlKey: event.ctrlKey }); return; }
    if (event.key === 'Enter' && event.ctrlKey) { event.preventDefault(); press('Enter', openDialog() || document); return; }
    if (isText(input)) inField(event, input); else command(event);
  };
  document.addEventListener('keydown', onKey);
  const catchUp = () => {
    while (later.length && !waiting) {
      const key = later.shift(), input = document.activeElement;
      const event = { ...key, altKey: false, shiftKey: false, preventDefault() {} };
      if (key.key === 'Enter' && key.ctrlKey) press('Enter', openDialog() || document);
      else if (isText(input)) { if (key.key.length === 1) { input.setRangeText(key.key, input.selectionStart, input.selectionEnd, 'end'); input.dispatchEvent(new Event('input', { bubbles: true })); } else inField(event, input); }
      else command(event);
    }
  };

  /* ---- the form is kept while it is filled in ---- */
  document.addEventListener('input', (event) => {
    if (event.target.matches('.filter')) { narrow(event.target.closest('dialog')); return; }
    const field = event.target.closest('#editor .field');
    if (field) touched(field, event.target.value);
  });
  document.addEventListener('focusin', (event) => { const field = event.target.closest('#editor .field'); if (field && !['object', 'array'].includes(field.dataset.widget)) activate(field); });

  /* ---- htmx ---- */
  const draws = (detail) => detail.target?.id !== 'status' && !detail.target?.matches?.('.text');
  document.addEventListener('htmx:configRequest', (event) => {
    if ('effort' in event.detail.parameters || one('[data-effort]')) event.detail.parameters.effort = effort();
    if (event.detail.elt.name === 'op') edited();
  });
  document.addEventListener('htmx:beforeRequest', (event) => { if (draws(event.detail)) waiting += 1; });
  document.addEventListener('htmx:afterRequest', (event) => {
    if (draws(event.detail)) waiting = Math.max(0, waiting - 1);
    setTimeout(catchUp, 0);
  });
  document.addEventListener('htmx:sendError', () => { waiting = 0; say(t('The workbench does not answer. What it confirmed is kept; try again when it is back.')); });
  document.addEventListener('htmx:afterSwap', (event) => {
    const target = event.detail.target;
    if (target?.id === 'notice') { openDialog()?.close(); return; }
    if (target?.id === 'similar-body') { show('similar'); return; }
    if (event.detail.elt?.closest?.('#status') || target?.id === 'status') return;
    draw();
  });
  const markBad = () => {
    for (const field of all('#editor .field')) {
      const error = one(':scope > .problem', field);
      if (!error) continue;
      field.classList.toggle('bad', error.textContent.trim() !== '');
      if (field.classList.contains('bad')) field.dataset.bad = ''; else delete field.dataset.bad;
    }
    const send = one('[data-key="Enter"].cmd');
    if (send) send.toggleAttribute('data-invalid', !!one('#status.invalid'));
  };
  document.addEventListener('htmx:afterSettle', markBad);
  document.addEventListener('htmx:oobAfterSwap', () => setTimeout(markBad, 0));
  const draw = () => {
    say('');
    startClock();
    drawTimeline();
    active = null;
    chooseActive();
    const wanted = editor()?.dataset.focus;
    if (!wanted) return;
    const input = all('#editor input, #editor textarea').find((node) => node.name === wanted);
    if (input) focusField(input.closest('.field')); else if (isText(document.activeElement)) document.activeElement.blur();
  };
  document.addEventListener('DOMContentLoaded', draw);
  if (document.readyState !== 'loading') draw();
  // A page that the browser kept is older than the log: ask again.
  window.addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
})();
