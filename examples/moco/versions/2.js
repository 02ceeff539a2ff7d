// SPDX-License-Identifier: Apache-2.0
// Version 2: tells since when somebody has been here, and looks different.
'use strict';
module.exports = {
  version: '2',
  title: 'moco, the second',
  colour: '#47a',
  migrations: [
    'CREATE TABLE IF NOT EXISTS users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE,'
      + ' salt BINARY(16) NOT NULL, hash BINARY(32) NOT NULL)',
    'ALTER TABLE users ADD COLUMN IF NOT EXISTS since TIMESTAMP DEFAULT CURRENT_TIMESTAMP',
  ],
  profile: 'SELECT id, name, since FROM users',
};
