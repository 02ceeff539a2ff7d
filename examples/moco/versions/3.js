// SPDX-License-Identifier: Apache-2.0
// Version 3: somebody forgot the migration that its profile needs. Its smoke test finds out.
'use strict';
module.exports = {
  version: '3',
  title: 'moco, the broken',
  colour: '#a47',
  migrations: [
    'CREATE TABLE IF NOT EXISTS users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE,'
      + ' salt BINARY(16) NOT NULL, hash BINARY(32) NOT NULL)',
    'ALTER TABLE users ADD COLUMN IF NOT EXISTS since TIMESTAMP DEFAULT CURRENT_TIMESTAMP',
  ],
  profile: 'SELECT id, name, since, avatar FROM users',
};
