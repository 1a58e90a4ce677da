-- The shop: the database that `vwal demo` uses when it is given none. Run by hand with
--
--     cat sql/demo/*.sql | sqlite3 shop.db
--
-- Money is in cents. All tables are ordinary ones: what vwal does is below the level of SQL.

CREATE TABLE customer (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,
    email   TEXT NOT NULL UNIQUE,
    city    TEXT NOT NULL,
    since   TEXT NOT NULL               -- a day, ISO 8601
);

CREATE TABLE product (
    id      INTEGER PRIMARY KEY,
    sku     TEXT NOT NULL UNIQUE,
    title   TEXT NOT NULL,
    price   INTEGER NOT NULL CHECK (price > 0),
    notes   TEXT                        -- some are long, so that rows spill to overflow pages
);

CREATE TABLE inventory (
    product_id  INTEGER NOT NULL REFERENCES product (id),
    warehouse   TEXT NOT NULL,
    quantity    INTEGER NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (product_id, warehouse)
) WITHOUT ROWID;

CREATE TABLE purchase (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customer (id),
    placed_at   TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'paid', 'shipped', 'returned'))
);
CREATE INDEX purchase_by_customer ON purchase (customer_id, placed_at);

CREATE TABLE purchase_line (
    purchase_id INTEGER NOT NULL REFERENCES purchase (id),
    line        INTEGER NOT NULL,
    product_id  INTEGER NOT NULL REFERENCES product (id),
    quantity    INTEGER NOT NULL CHECK (quantity > 0),
    price       INTEGER NOT NULL,
    PRIMARY KEY (purchase_id, line)
);
CREATE INDEX purchase_line_by_product ON purchase_line (product_id);

CREATE VIEW purchase_total AS
SELECT purchase_id, sum(quantity * price) AS total, count(*) AS lines
FROM purchase_line
GROUP BY purchase_id;
