'use strict';
// Everything from the record is put on the page as text, never as markup.
const data = JSON.parse(document.getElementById('data').textContent);
const all = data.entries, session = data.session;
const $ = id => document.getElementById(id);

// el makes an element of a class with texts and elements in it.
function el(tag, cls, ...inside) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  e.append(...inside.filter(x => x !== '' && x != null));
  return e;
}

// visible returns s with what would not be seen, or would make text look other
// than it is, as marked escapes.
const unseen = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}]/u;
function visible(s) {
  const out = document.createDocumentFragment();
  let plain = '';
  for (const c of s) {
    if (c === '\n' || c === '\t' || !unseen.test(c)) { plain += c; continue; }
    const n = c.codePointAt(0);
    out.append(plain, el('span', 'esc', n < 256 ? '\\x' + n.toString(16).padStart(2, '0') : '\\u' + n.toString(16).padStart(4, '0')));
    plain = '';
  }
  out.append(plain);
  return out;
}
const line = s => visible((s || '').replace(/\s+/g, ' ').trim());

// text is what an entry asked.
function text(e) {
  if (e.kind === 'gap') return `${e.lost || 0} records are missing: ${e.reason || ''}`;
  if (!e.text_raw) return e.text || '';
  return Array.from(atob(e.text_raw), c => c >= ' ' && c <= '~' || c === '\n' || c === '\t' ? c : '\\x' + c.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}

const failed = e => !!(e.done && e.done.code);
const denied = e => e.verdict === 'deny' || e.verdict === 'close' || !!e.result && (e.result.verdict === 'deny' || e.result.verdict === 'close');
const masked = e => !!e.result && e.result.verdict === 'mask' || e.verdict === 'mask' || !!(e.done && e.done.masked);
const held = e => e.verdict === 'hold' || !!e.approval;
const titles = { own: 'What agentd itself asked the server, to know what it must not let through' };
const kinds = [
  ['all', 'All', e => e.kind !== 'own'], ['denied', 'Denied', denied], ['masked', 'Masked', masked], ['held', 'Held', held], ['failed', 'Failed', e => failed(e) && !denied(e)],
  ['own', 'Asked by agentd', e => e.kind === 'own'], // to know what it must not let through: no part of what the client did
];
// verdict is the answer that changed most.
function verdict(e) {
  if (e.kind === 'gap') return 'gap';
  if (e.result && e.result.verdict && e.result.verdict !== 'allow') return e.result.verdict;
  if (e.verdict === 'allow' && e.done && e.done.masked) return 'mask';
  return e.verdict || '';
}
const words = { allow: 'allowed', deny: 'denied', close: 'denied, closed', mask: 'masked', hold: 'held', gap: 'gap' };
const badge = v => el('span', 'badge ' + v, words[v] || v);

const plural = (n, noun) => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
function size(n) {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (n < 1024) return `${+n.toFixed(1)} ${unit}`;
    n /= 1024;
  }
  return `${+n.toFixed(1)} TiB`;
}
function took(ns) {
  for (const [unit, of] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) if (ns >= of) return `${+(ns / of).toPrecision(3)} ${unit}`;
  return `${ns} ns`;
}
// offset writes microseconds since the session's start.
function offset(us) {
  const s = us / 1e6;
  if (s < 60) return `+${s.toFixed(3)}s`;
  const two = n => String(n).padStart(2, '0');
  const m = Math.floor(s / 60), rest = two(Math.floor(s % 60)) + '.' + String(Math.floor(us / 1000) % 1000).padStart(3, '0');
  return m < 60 ? `+${m}:${rest}` : `+${Math.floor(m / 60)}:${two(m % 60)}:${rest}`;
}

// Time as it is played, in microseconds: pauses may be shortened.
const longest = 2e6;
let played = [], total = 0;
function pace() {
  const shorten = $('idle').checked;
  let before = 0, at = 0;
  played = all.map(e => {
    const gap = Math.max(0, e.at - before);
    at += shorten ? Math.min(gap, longest) : gap;
    before = Math.max(before, e.at);
    return at;
  });
  const gap = Math.max(0, data.took - before);
  total = Math.max(1, at + (shorten ? Math.min(gap, longest) : gap));
}

let chosen = all.map((_, i) => i); // indices of all that are shown
let filter = kinds[0], query = '';
let now = 0, playing = false, current = -1, last = 0;

// latest returns the position in chosen of the last entry up to time t, -1 if none.
function latest(t) {
  let low = 0, high = chosen.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (played[chosen[mid]] <= t) low = mid + 1; else high = mid;
  }
  return low - 1;
}

// The list holds only the rows in sight.
const height = 30;
function draw() {
  const list = $('list'), from = Math.max(0, Math.floor(list.scrollTop / height) - 5);
  const to = Math.min(chosen.length, from + Math.ceil(list.clientHeight / height) + 10);
  $('space').style.height = `${chosen.length * height}px`;
  const rows = [];
  for (let k = from; k < to; k++) {
    const e = all[chosen[k]], v = verdict(e);
    const row = el('div', 'row', el('span', 'at', offset(e.at)), el('span', '', v ? badge(v) : el('span', 'soft', e.kind)));
    const said = el('span', 'said');
    if (e.kind !== 'request' && e.kind !== 'gap') said.append(el('b', '', e.kind + ' '));
    said.append(line(text(e).slice(0, 300)));
    row.append(said, el('span', 'n', failed(e) ? el('span', 'badge failed', line(e.done.code)) : e.done && !e.done.skipped ? plural(e.done.rows, 'row') : ''));
    row.id = 'r' + chosen[k];
    row.setAttribute('role', 'option');
    row.setAttribute('aria-selected', String(k === current));
    row.setAttribute('aria-setsize', chosen.length);
    row.setAttribute('aria-posinset', k + 1);
    if (played[chosen[k]] > now) row.classList.add('later');
    row.addEventListener('click', () => go(k));
    rows.push(row);
  }
  $('rows').style.top = `${from * height}px`;
  $('rows').replaceChildren(...rows);
  if (current >= 0) list.setAttribute('aria-activedescendant', 'r' + chosen[current]); else list.removeAttribute('aria-activedescendant');
}

// into scrolls the list so that the current row is in sight.
function into() {
  const list = $('list'), top = current * height;
  if (current < 0) list.scrollTop = 0;
  else if (top < list.scrollTop || top + height > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
}

// show puts the page at time t. Where is the row, if one was chosen: several may be of one time.
function show(t, where) {
  now = Math.min(Math.max(t, 0), total);
  const at = where ?? latest(now);
  $('seek').value = String(Math.round(now / total * 1000));
  const real = at >= 0 ? all[chosen[at]].at : 0;
  const stamp = `${offset(now >= total ? data.took : real)} of ${offset(data.took)}`;
  $('clock').textContent = stamp;
  $('seek').setAttribute('aria-valuetext', stamp);
  $('back').disabled = at <= 0;
  $('next').disabled = at >= chosen.length - 1;
  if (at !== current || !$('detail').firstChild) {
    current = at;
    detail(at < 0 ? null : all[chosen[at]]);
    into();
    draw();
  }
}
function go(k) {
  if (k >= 0 && k < chosen.length) show(played[chosen[k]], k);
}

function answer(e, a, what) {
  const out = [];
  if (!a || !a.verdict) return out;
  out.push(el('li', '', what, badge(a.verdict), a.rule ? ' by rule ' : '', a.rule ? el('b', '', line(a.rule)) : ''));
  const say = (name, v) => v && out.push(el('li', '', el('span', 'soft', name + ' '), line(v)));
  say('not understood:', a.unclassified);
  say('reason:', a.reason);
  say('hint:', a.hint);
  say('limited by rule', a.limited);
  say('approval', a.approval);
  for (const s of a.shadows || []) say('in shadow mode,', `${s.rule} would say ${words[s.verdict] || s.verdict}`);
  for (const r of a.alerts || []) say('people were told by', r);
  return out;
}
function vote(v) {
  const by = [v.by, v.as, v.subject && v.subject !== v.by ? v.subject : '', v.via && 'via ' + v.via].filter(Boolean).join(', ');
  return el('li', '', badge(v.what === 'denied' ? 'deny' : v.what === 'asked' ? 'hold' : 'allow'), ` approval ${v.what}`, by ? ' by ' : '', by ? el('b', '', line(by)) : '', v.reason ? ': ' : '', line(v.reason), el('span', 'soft', ' ' + v.time));
}
function column(c) {
  const name = [c.schema, c.table, c.column].filter(Boolean).join('.');
  const how = c.searched ? 'what was found in it was replaced' : c.as ? `shown as “${c.as}”` : 'shown as NULL';
  return el('li', '', badge('mask'), ' ', line(`${c.derived ? 'a value of ' : ''}${name} (column ${c.index + 1}): ${how}`));
}
const cuts = { limit: 'the limit for recorded results was reached', value: 'of the last value only the front is recorded', form: 'the rest was not understood' };
function table(r, e, only) {
  const out = el('div', 'scroll'), t = el('table'), shown = 500;
  const hidden = new Set(only ? (e.columns || []).filter(c => c.masked).map(c => c.index) : []);
  t.append(el('caption', '', `result ${(r.result || 0) + 1}, ` + (r.from ? `rows from ${r.from + 1}` : plural((r.rows || []).length, 'row') + ' recorded')));
  if (r.columns) t.append(el('thead', '', el('tr', '', ...r.columns.map((c, i) => {
    const th = el('th', '', visible(c), hidden.has(i) ? ' ' : '', hidden.has(i) ? badge('mask') : '');
    th.scope = 'col';
    return th;
  }))));
  const raw = new Set((r.raw || []).map(p => p.join()));
  const body = el('tbody');
  const fill = (from, to) => r.rows.slice(from, to).forEach((row, i) => body.append(el('tr', '', ...row.map((v, c) => {
    const td = el('td', hidden.has(c) ? 'masked' : '', v === null ? el('span', 'null', 'NULL') : visible(v));
    if (raw.has(`${from + i},${c}`)) td.title = 'the bytes: the form is not known';
    return td;
  }))));
  fill(0, shown);
  t.append(body);
  out.append(t);
  if (r.rows.length > shown) {
    const more = el('button', '', `Show all ${r.rows.length} rows`);
    more.addEventListener('click', () => { fill(shown, r.rows.length); more.remove(); });
    out.append(more);
  }
  const notes = [r.cut && `Ends here: ${cuts[r.cut] || r.cut}.`, r.withheld && `${plural(r.withheld, 'secret')} withheld from the record.`].filter(Boolean);
  return notes.length ? [out, el('p', 'soft', notes.join(' '))] : [out];
}
function outcome(e) {
  const d = e.done;
  if (!d) return e.kind === 'request' && !denied(e) && e.verdict !== 'hold' ? 'No outcome was recorded.' : '';
  if (d.skipped) return 'Not run: an earlier error, or the end of the session, came first.';
  const by = Object.entries(d.by || {}).sort((a, b) => b[1] - a[1]).map(([n, c]) => `${n} ${c}`).join(', ');
  return [
    d.code ? `Error ${d.code}: ${d.message || ''}` : d.tag, plural(d.rows, 'row'), size(d.bytes), d.affected ? `${plural(d.affected, 'row')} changed` : '',
    d.masked ? `${plural(d.masked, 'value')} masked${by ? ` (${by})` : ''}` : '', (d.over || []).map(r => `beyond the shadow limit ${r}`).join(', '),
    d.unfinished ? 'the session ended first' : '', 'took ' + took(d.ns),
  ].filter(Boolean).join(' · ');
}
function detail(e) {
  const to = $('detail');
  if (!e) {
    to.replaceChildren(el('p', 'soft', chosen.length ? 'Before the first statement. Press play.' : 'Nothing fits the filter and the search.'));
    return;
  }
  const out = [el('h2', '', e.kind === 'gap' ? 'Gap in the record' : `${e.kind[0].toUpperCase()}${e.kind.slice(1)} ${e.seq || ''}`, el('small', '', `${offset(e.at)} · ${e.time}`), e.ref ? el('small', '', `runs what ${e.ref} prepared`) : '')];
  const pre = el('pre', '', visible(text(e)) || '');
  if (!pre.textContent) pre.append(el('span', 'soft', '(empty)'));
  out.push(pre);
  if (e.text_bytes) out.push(el('p', 'soft', `The front of ${size(e.text_bytes)}; SHA-256 of the whole ${e.text_sha256}.`));
  if (e.text_left_out) out.push(el('p', 'soft', 'Only the front: the page has no room for all of it. It is in the log.'));
  if (e.text_raw) out.push(el('p', 'soft', 'Not UTF-8: bytes are shown as escapes.'));
  const said = [...answer(e, e, ''), ...answer(e, e.result, 'the result: '), ...(e.votes || []).map(vote)];
  if (e.exceptional) said.push(el('li', '', 'exceptional login: ', line(e.exceptional)));
  for (const [k, v] of Object.entries(e.claims || {})) said.push(el('li', 'soft', 'claims, unverified: ', line(`${k}=${v}`)));
  if (said.length) out.push(el('h3', '', 'Verdict'), el('ul', '', ...said));
  const columns = (e.columns || []).filter(c => c.masked);
  if (columns.length) out.push(el('h3', '', 'Masked columns'), el('ul', '', ...columns.map(column)));
  const came = outcome(e);
  if (came) out.push(el('h3', '', 'Outcome'), el('p', failed(e) ? 'error' : '', line(came)));
  for (const r of e.rows || []) out.push(el('h3', '', r.lines ? 'Rows, one a line' : 'Result, as the client saw it'), ...table(r, e, e.rows.length === 1));
  if (e.rows_left_out) out.push(el('p', 'soft', 'The rows of this result are left out of this page, which would be too large: they are in the log.'));
  to.replaceChildren(...out);
  to.scrollTop = 0;
}

// Choosing.
const hay = [];
function haystack(i) {
  if (hay[i] === undefined) {
    const e = all[i], parts = [e.kind, text(e), e.rule, e.reason, e.hint, e.approval];
    if (e.result) parts.push(e.result.rule, e.result.reason);
    if (e.done) parts.push(e.done.tag, e.done.code, e.done.message);
    for (const v of e.votes || []) parts.push(v.by, v.as, v.reason);
    for (const r of e.rows || []) parts.push(...(r.columns || []), ...r.rows.flat());
    hay[i] = parts.filter(Boolean).join('\n').toLowerCase();
  }
  return hay[i];
}
function choose() {
  const words = query.toLowerCase().trim();
  let of = 0;
  chosen = [];
  for (let i = 0; i < all.length; i++) {
    if (!filter[2](all[i])) continue;
    of++;
    if (!words || haystack(i).includes(words)) chosen.push(i);
  }
  $('count').textContent = words ? `${chosen.length.toLocaleString('en')} of ${of.toLocaleString('en')}` : `${of.toLocaleString('en')} shown`;
  $('list').scrollTop = 0;
  current = -2;
  show(now);
  marks();
}
function marks() {
  const c = $('marks'), w = c.clientWidth;
  c.width = w;
  const g = c.getContext('2d'), style = getComputedStyle(document.documentElement);
  const tick = (i, name) => { g.fillStyle = style.getPropertyValue(name); g.fillRect(Math.min(w - 2, played[i] / total * w), name === '--line' ? 6 : 0, 2, 10); };
  for (const i of chosen) tick(i, '--line');
  for (const i of chosen) {
    const e = all[i];
    if (denied(e) || e.kind === 'gap') tick(i, '--no'); else if (held(e)) tick(i, '--hold'); else if (masked(e)) tick(i, '--mask');
  }
}

// Playing.
function play(on) {
  playing = on;
  $('play').textContent = on ? '❚❚ Pause' : '▶\ufe0e Play';
  $('play').setAttribute('aria-label', on ? 'Pause' : 'Play');
  if (!on) return;
  if (now >= total) show(0);
  last = performance.now();
  requestAnimationFrame(frame);
}
function frame(at) {
  if (!playing) return;
  const t = now + Math.max(0, at - last) * 1000 * Number($('speed').value);
  last = at;
  show(t);
  if (now >= total) play(false); else requestAnimationFrame(frame);
}

function facts() {
  const s = session, p = data.proof, put = (name, ...parts) => {
    const v = parts.filter(Boolean).join(', ');
    if (v) $('facts').append(el('dt', '', name), el('dd', '', line(v)));
  };
  const map = m => Object.entries(m || {}).map(([k, v]) => `${k}=${v}`).join(', ');
  const named = (n, v) => v ? `${n} ${v}` : '';
  const leg = (n, t) => t ? [n, t.version, t.cipher, t.name && 'for ' + t.name, t.verified && `(verified: ${t.verified}; ${t.subject})`].filter(Boolean).join(' ') : '';
  $('id').textContent = s.id;
  $('what').append(line([s.workload, s.target && 'to ' + s.target, named('as', s.user), data.clock].filter(Boolean).join(' · ')));
  put('Log', p.log, named('node', p.node), named('checkpoint of', p.size ? plural(p.size, 'record') : ''), named('root', p.root));
  put('Key', p.key);
  put('State', s.state, s.outcome);
  put('Time', data.clock, 'took ' + offset(data.took).slice(1));
  put('Workload', s.workload, named('by', s.source), named('unit', s.unit), named('cgroup', s.cgroup));
  put('Pod', s.pod ? `${s.namespace}/${s.pod}` : s.namespace, named('container', s.container), s.image, named('account', s.service_account), named('of', s.owner));
  put('Labels', map(s.labels));
  put('Process', named('pid', s.pid), s.exe, `uid ${s.uid}`);
  put('Target', s.target, named('asked for as', s.host), s.address, s.protocol);
  put('Seen as', s.scope);
  put('TLS', leg('client', s.client_tls), leg('server', s.server_tls));
  put('Login', named('user', s.user), named('database', s.database), named('application', s.application), named('with credential', s.credential), named('as', s.as));
  put('Claims, unverified', map(s.claims));
  put('Did', plural(s.statements, 'statement'), `${s.denied} denied`, `${s.failed} failed`, `${plural(s.rows, 'row')} of ${size(s.bytes)}`, `${plural(s.masked, 'value')} masked`);
  put('Results', s.results ? `recorded up to ${size(s.results)} of each request` : 'not recorded, by configuration');
  put('Not captured', ...(s.not_captured || []));
  $('proof').className = p.state;
  $('proof').append(line(p.words));
  if (data.left_out) { $('left').hidden = false; $('left').append(line(data.left_out)); }
  $('foot').append(line(`Written by agentd ${data.version || ''} on ${data.made}. This page holds all it shows, loads nothing and sends nothing. It is no proof by itself: \`agentctl audit prove\` writes one that can be checked.`));
}

function start() {
  facts();
  pace();
  for (const k of kinds) {
    const n = all.reduce((n, e) => n + (k[2](e) ? 1 : 0), 0), b = el('button', '', `${k[1]} ${n.toLocaleString('en')}`);
    b.type = 'button';
    b.title = titles[k[0]] || '';
    b.id = 'only-' + k[0];
    b.disabled = n === 0 && k[0] !== 'all';
    b.setAttribute('aria-pressed', String(k === filter));
    b.addEventListener('click', () => {
      filter = k;
      for (const other of $('filters').children) other.setAttribute('aria-pressed', String(other === b));
      choose();
    });
    $('filters').append(b);
  }
  $('play').addEventListener('click', () => play(!playing));
  $('back').addEventListener('click', () => go(current - 1));
  $('next').addEventListener('click', () => go(current + 1));
  $('seek').addEventListener('input', () => show(Number($('seek').value) / 1000 * total));
  $('idle').addEventListener('change', () => { const e = all[chosen[current]]; pace(); marks(); show(e ? played[all.indexOf(e)] : 0); });
  let soon = 0;
  $('search').addEventListener('input', () => { clearTimeout(soon); soon = setTimeout(() => { query = $('search').value; choose(); }, 150); });
  $('list').addEventListener('scroll', () => requestAnimationFrame(draw));
  addEventListener('resize', () => { draw(); marks(); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', marks);
  addEventListener('keydown', k => {
    if (k.ctrlKey || k.metaKey || k.altKey) return;
    const at = k.target, typing = at.id === 'search' || at.tagName === 'SELECT' || at.id === 'seek' && k.key !== ' ';
    if (k.key === 'Escape' && at.id === 'search') { at.value = query = ''; choose(); at.blur(); return; }
    if (typing || k.key === ' ' && (at.tagName === 'BUTTON' || at.tagName === 'SUMMARY' || at.tagName === 'INPUT' && at.id !== 'seek')) return;
    const page = Math.max(1, Math.floor($('list').clientHeight / height) - 1);
    const does = {
      ' ': () => play(!playing), ArrowLeft: () => go(current - 1), ArrowRight: () => go(current + 1), ArrowUp: () => go(current - 1), ArrowDown: () => go(current + 1),
      PageUp: () => go(Math.max(0, current - page)), PageDown: () => go(Math.min(chosen.length - 1, current + page)),
      Home: () => go(0), End: () => go(chosen.length - 1), '/': () => $('search').focus(),
    }[k.key];
    if (does) { k.preventDefault(); does(); }
  });
  choose();
  go(0);
}
start();
