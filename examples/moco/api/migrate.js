// SPDX-License-Identifier: Apache-2.0
//
// Brings the database to what this version needs, before any of its containers start. It only ever adds: the
// version before serves on meanwhile, and may come back.
'use strict';
const { query, end } = require('./store.js');
const version = require('./version.js');

async function migrate() {
  await query('CREATE TABLE IF NOT EXISTS migrations (number INT PRIMARY KEY, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)');
  const done = new Set((await query('SELECT number FROM migrations')).map(row => row.number));
  for (const [index, statement] of version.migrations.entries()) {
    if (done.has(index)) continue;
    await query(statement);
    // Repeated after a crash in between, so a statement must not mind having been done.
    await query('INSERT IGNORE INTO migrations (number) VALUES (?)', [index]);
    console.log(`migration ${index} done`);
  }
  await end();
}

migrate().catch(error => {
  console.error(error.message);
  process.exit(1);
});
