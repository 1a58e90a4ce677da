-- About 50,000 rows, the same ones each time: instead of random() a multiplicative hash of the row's number.

BEGIN;

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000),
h(i, x) AS (SELECT i, i * 2654435761 % 4294967296 FROM n)
INSERT INTO customer (id, name, email, city, since)
SELECT
    i,
    CASE x % 8
        WHEN 0 THEN 'Ada' WHEN 1 THEN 'Björn' WHEN 2 THEN 'Chloé' WHEN 3 THEN 'Dušan'
        WHEN 4 THEN 'Edith' WHEN 5 THEN 'Farid' WHEN 6 THEN 'Grace' ELSE 'Hana'
    END || ' ' || CASE x / 8 % 7
        WHEN 0 THEN 'Abel' WHEN 1 THEN 'Brandt' WHEN 2 THEN 'Costa' WHEN 3 THEN 'Dubois'
        WHEN 4 THEN 'Ekström' WHEN 5 THEN 'Ferrari' ELSE 'Novák'
    END,
    'customer' || i || '@example.org',
    CASE x / 64 % 6
        WHEN 0 THEN 'Lisboa' WHEN 1 THEN 'Malmö' WHEN 2 THEN 'Praha' WHEN 3 THEN 'Lyon' WHEN 4 THEN 'Leeds' ELSE 'Graz'
    END,
    date('2019-01-01', '+' || (x / 512 % 2000) || ' days')
FROM h;

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000),
h(i, x) AS (SELECT i, i * 2246822519 % 4294967296 FROM n)
INSERT INTO product (id, sku, title, price, notes)
SELECT
    i,
    printf('SKU-%05d', i),
    CASE x % 5 WHEN 0 THEN 'Blue' WHEN 1 THEN 'Heavy' WHEN 2 THEN 'Quiet' WHEN 3 THEN 'Folding' ELSE 'Spare' END
    || ' ' ||
    CASE x / 5 % 6
        WHEN 0 THEN 'lamp' WHEN 1 THEN 'chair' WHEN 2 THEN 'kettle' WHEN 3 THEN 'ladder' WHEN 4 THEN 'clock' ELSE 'desk'
    END,
    199 + x / 32 % 40000,
    CASE
        WHEN i % 50 = 0 THEN replace(hex(zeroblob(3000)), '00', substr('abcdefghijklmnop', 1 + x % 16, 1) || '.')
        WHEN i % 3 = 0 THEN 'Made to order; allow ' || (2 + x % 9) || ' days.'
    END
FROM h;

WITH w(k, warehouse) AS (VALUES (1, 'north'), (2, 'south'), (3, 'harbour'))
INSERT INTO inventory (product_id, warehouse, quantity)
SELECT id, warehouse, (id * 2654435761 + k * 40503) % 4294967296 / 97 % 500
FROM product CROSS JOIN w;

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000),
h(i, x) AS (SELECT i, i * 3266489917 % 4294967296 FROM n)
INSERT INTO purchase (id, customer_id, placed_at, state)
SELECT
    i,
    1 + x % 5000,
    datetime('2024-01-01', '+' || (i * 43) || ' minutes'),
    CASE x / 5000 % 10 WHEN 0 THEN 'open' WHEN 1 THEN 'paid' WHEN 2 THEN 'returned' ELSE 'shipped' END
FROM h;

-- One to four lines each.
WITH line(k) AS (VALUES (1), (2), (3), (4)),
h(i, k, x) AS (
    SELECT id, k, (id * 4 + k) * 668265263 % 4294967296
    FROM purchase CROSS JOIN line
    WHERE k <= 1 + id * 2654435761 % 4294967296 / 1024 % 4
)
INSERT INTO purchase_line (purchase_id, line, product_id, quantity, price)
SELECT i, k, product.id, 1 + x / 1000 % 5, product.price
FROM h JOIN product ON product.id = 1 + x % 1000;

COMMIT;

ANALYZE;
