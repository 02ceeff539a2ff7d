// SPDX-License-Identifier: Apache-2.0
//
// Images, on a volume that all replicas share. A file is named by what is in it, so it never changes and
// the edge may keep it as long as it likes.
'use strict';
const crypto = require('crypto');
const fs = require('fs/promises');
const { Refused } = require('./serve.js');

const DIRECTORY = '/uploads';
const MAX_BYTES = 2 * 1024 * 1024;
const KINDS = [
  { suffix: 'png', type: 'image/png', begins: '89504e470d0a1a0a' },
  { suffix: 'jpg', type: 'image/jpeg', begins: 'ffd8ff' },
  { suffix: 'gif', type: 'image/gif', begins: '47494638' },
];

/** Called once, as root: a new volume belongs to root. */
async function prepare(uid, gid) {
  await fs.chown(DIRECTORY, uid, gid);
}

async function save(bytes) {
  const kind = KINDS.find(k => bytes.subarray(0, k.begins.length / 2).toString('hex') === k.begins);
  if (!kind) throw new Refused(415, 'PNG, JPEG or GIF, please');
  const name = `${crypto.createHash('sha256').update(bytes).digest('hex').slice(0, 32)}.${kind.suffix}`;
  const temporary = `${DIRECTORY}/.${crypto.randomUUID()}`;
  await fs.writeFile(temporary, bytes);
  await fs.rename(temporary, `${DIRECTORY}/${name}`);
  return { url: `/uploads/${name}` };
}

async function load(path) {
  const [, name, suffix] = /^\/uploads\/([0-9a-f]{32}\.(png|jpg|gif))$/.exec(path) || [];
  const bytes = name && await fs.readFile(`${DIRECTORY}/${name}`).catch(error => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (!bytes) throw new Refused(404, 'no such image');
  const headers = { 'Content-Type': KINDS.find(k => k.suffix === suffix).type, 'Cache-Control': 'public, max-age=3600, immutable', ETag: `"${name}"` };
  return { bytes, headers };
}

module.exports = { MAX_BYTES, load, prepare, save };
