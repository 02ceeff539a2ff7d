// SPDX-License-Identifier: Apache-2.0
// Version 1: the first.
'use strict';
module.exports = {
  version: '1',
  title: 'moco',
  colour: '#4a7',
  migrations: [
    'CREATE TABLE IF NOT EXISTS users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE,'
      + ' salt BINARY(16) NOT NULL, hash BINARY(32) NOT NULL)',
  ],
  profile: 'SELECT id, name FROM users',
};
