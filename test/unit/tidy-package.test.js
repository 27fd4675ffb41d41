'use strict';

// What a user of the package gets besides code: licences that are listed, links that lead
// somewhere, templates that GitHub can read.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { parse } = require('yaml');

const { ROOT } = require('../support/setup');

const read = name => fs.readFileSync(path.join(ROOT, name), 'utf8');

/** Every package that is installed with ours: its name and licence. */
function installed () {
  const { packages } = JSON.parse(read('package-lock.json'));
  const found = new Map();
  const add = (name, from) => {
    const places = [from, ''].map(place => `${place && `${place}/`}node_modules/${name}`);
    const place = places.find(each => each in packages);
    if (found.has(place)) return;
    found.set(place, [name, packages[place].license]);
    for (const next of Object.keys(packages[place].dependencies ?? {})) add(next, place);
  };
  for (const name of Object.keys(packages[''].dependencies)) add(name, '');
  return [...found.values()];
}

test('THIRD-PARTY lists what is installed, with its licence', () => {
  const rows = [...read('THIRD-PARTY.md').matchAll(/^\| ([\w@/-]+) \| ([\w.-]+) \| .+ \|$/gm)]
    .map(([, name, licence]) => [name, licence]).filter(([name]) => name !== 'package');
  expect(rows).toEqual(installed().toSorted());
});

describe('the packed documents', () => {
  const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'],
    { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  const packed = new Set(files.map(file => file.path));
  const documents = [...packed].filter(name => name.endsWith('.md'));

  const isThere = name => packed.has(name) || [...packed].some(each => each.startsWith(`${name}/`));

  test('are all of them', () => {
    for (const folder of ['docs', 'deploy', 'examples']) {
      const options = { recursive: true, withFileTypes: true };
      const names = fs.readdirSync(path.join(ROOT, folder), options)
        .filter(entry => entry.isFile())
        .map(({ parentPath, name }) => path.relative(ROOT, path.join(parentPath, name)));
      expect(names.filter(name => !packed.has(name))).toEqual([]);
    }
  });

  test.each(documents)('%s has links that work without the repository', name => {
    const text = read(name).replace(/^```[^]*?^```/gm, '');
    const broken = [...text.matchAll(/\]\(([^)\s#]+)[^)\s]*\)/g)].map(([, target]) => target)
      .filter(target => !/^https?:/.test(target))
      .map(target => path.posix.join(path.posix.dirname(name), target))
      .filter(target => !isThere(target.replace(/\/$/, '')));
    expect(broken).toEqual([]);
  });
});

test('the templates of issues are forms', () => {
  const folder = '.github/ISSUE_TEMPLATE';
  const forms = fs.readdirSync(path.join(ROOT, folder)).filter(name => name !== 'config.yml');
  expect(forms.length).toBeGreaterThan(1);
  for (const form of forms) {
    const { name, description, body } = parse(read(`${folder}/${form}`));
    expect([typeof name, typeof description]).toEqual(['string', 'string']);
    for (const { type, id, attributes } of body) {
      expect(type).toMatch(/^(markdown|textarea|input|dropdown|checkboxes)$/);
      expect(typeof (type === 'markdown' ? attributes.value : id && attributes.label))
        .toBe('string');
    }
  }
});
