CREATE ROLE agent LOGIN PASSWORD 'demo-password';
CREATE DATABASE orders OWNER agent;
\connect orders
SET ROLE agent;
CREATE TABLE customers (id int PRIMARY KEY, name text, email text);
INSERT INTO customers VALUES
	(1, 'Ada Lovelace', 'ada@example.org'),
	(2, 'Charles Babbage', 'charles@example.org'),
	(3, 'Mary Somerville', NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, item text, total numeric(10, 2));
INSERT INTO orders VALUES
	(1, 1, 'Difference engine', 17470.00),
	(2, 2, 'Brass gears, a gross', 310.50),
	(3, 1, 'Punched cards', 12.75),
	(4, 3, 'Orrery', 96.00);
