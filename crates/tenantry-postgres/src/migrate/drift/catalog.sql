WITH b AS MATERIALIZED (
    -- Whose a line is goes with it: another join at the end is one that the server may plan badly.
    SELECT n.oid, concat_ws(chr(31), n.nspname, u.role, u.cell) AS nsp, n.nspname, n.nspowner, n.nspacl, u.role, u.cell, r.oid AS role_oid
      FROM unnest($1::text[], $2::text[], $3::text[]) AS u (schema, role, cell)
      JOIN pg_namespace n ON n.nspname = u.schema
      LEFT JOIN pg_roles r ON r.rolname = u.role
),
-- What depends on a schema is found by an index, however many schemas there are; pg_class has none by schema.
dep AS MATERIALIZED (
    SELECT b.nsp, d.classid, d.objid
      FROM b JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = b.oid
     -- An extension is told as one object, not by all that it brings.
     WHERE NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
),
rel AS MATERIALIZED (
    SELECT dep.nsp, c.oid, c.relkind, c.relowner, c.relacl, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
           c.reloptions, c.relreplident, c.relispartition, c.relpartbound, c.relam, c.reltype, quote_ident(c.relname) AS rel,
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                          WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' END AS noun
      FROM dep JOIN pg_class c ON c.oid = dep.objid
     WHERE dep.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
),
-- The sequence behind an identity column is part of the column.
seq AS MATERIALIZED (
    SELECT rel.nsp, rel.rel, s.*, o.refobjid, o.refobjsubid, coalesce(o.deptype = 'i', false) AS internal
      FROM rel JOIN pg_sequence s ON s.seqrelid = rel.oid
      LEFT JOIN pg_depend o ON o.classid = 'pg_class'::regclass AND o.objid = rel.oid AND o.objsubid = 0
                           AND o.refclassid = 'pg_class'::regclass AND o.deptype IN ('a', 'i')
     WHERE rel.relkind = 'S'
),
fun AS MATERIALIZED (
    SELECT dep.nsp, p.oid, p.prokind, p.proowner, p.proacl,
           quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS fun
      FROM dep JOIN pg_proc p ON p.oid = dep.objid WHERE dep.classid = 'pg_proc'::regclass
),
typ AS MATERIALIZED (
    SELECT dep.nsp, t.oid, t.typtype, t.typowner, t.typacl, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault,
           quote_ident(t.typname) AS typ
      FROM dep JOIN pg_type t ON t.oid = dep.objid
     WHERE dep.classid = 'pg_type'::regclass AND t.typtype IN ('d', 'e', 'r', 'b')
),
col AS MATERIALIZED (
    SELECT rel.nsp, rel.oid, rel.rel, rel.relowner, rel.rel || chr(31) || quote_ident(a.attname) AS name, a.attnum, a.atttypid,
           a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated, a.attcollation, a.attstorage,
           a.attcompression, a.attacl, a.attoptions
      FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid
     WHERE rel.relkind IN ('r', 'p', 'f', 'c', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
),
-- To write a condition down takes the server longer than everything else together, and tenants have the same ones: what is
-- the same for columns of the same names is written once.
con AS MATERIALIZED (
    SELECT rel.nsp, rel.rel, c.oid, c.conname,
           CASE WHEN c.contype = 'c' AND c.convalidated THEN concat_ws(' ', c.connoinherit, k.columns, c.conbin::text) ELSE c.oid::text END AS alike
      FROM rel JOIN pg_constraint c ON c.conrelid = rel.oid
      LEFT JOIN (SELECT oid, string_agg(attnum || ' ' || name, ' ' ORDER BY attnum) AS columns FROM col GROUP BY oid) AS k ON k.oid = rel.oid
     WHERE c.contype NOT IN ('n', 't')
),
written AS MATERIALIZED (SELECT alike, pg_get_constraintdef(min(oid)) AS def FROM con GROUP BY alike),
acl (nsp, within, object, owner, entries) AS (
    SELECT nsp, rel, noun || ' ' || chr(1) || rel, relowner,
           coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
      FROM rel WHERE relkind NOT IN ('c') AND oid NOT IN (SELECT seqrelid FROM seq WHERE internal)
    UNION ALL
    SELECT nsp, rel, 'column ' || chr(1) || name, relowner, attacl FROM col WHERE attacl IS NOT NULL
    UNION ALL
    SELECT nsp, fun, CASE prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || chr(1) || fun, proowner,
           coalesce(proacl, acldefault('f', proowner)) FROM fun
    UNION ALL
    SELECT nsp, typ, 'type ' || chr(1) || typ, typowner, coalesce(typacl, acldefault('T', typowner)) FROM typ
    UNION ALL
    SELECT nsp, '', 'schema ' || quote_ident(nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM b
),
line (nsp, kind, name, def, within) AS (
    SELECT nsp, noun, rel, concat_ws(' ', CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END,
               CASE WHEN relkind = 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(oid) END,
               CASE WHEN relispartition THEN pg_get_expr(relpartbound, oid) END,
               CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END,
               (SELECT 'USING ' || amname FROM pg_am WHERE pg_am.oid = relam AND relkind IN ('r', 'm') AND amname <> 'heap')), rel
      FROM rel WHERE relkind NOT IN ('S', 'c')
    UNION ALL
    SELECT nsp, 'type', rel, 'composite', rel FROM rel WHERE relkind = 'c'
    UNION ALL
    SELECT nsp, 'sequence', rel, format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s OWNED BY %s',
               format_type(seqtypid, NULL), seqincrement, seqmin, seqmax, seqstart, seqcache,
               CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END,
               coalesce((SELECT chr(1) || replace(col.name, chr(31), '.') FROM col WHERE col.oid = refobjid AND col.attnum = refobjsubid), 'NONE')),
           coalesce((SELECT of.rel FROM rel AS of WHERE of.oid = refobjid), rel)
      FROM seq WHERE NOT internal
    UNION ALL
    SELECT nsp, 'owner', noun || ' ' || chr(1) || rel, quote_ident(pg_get_userbyid(relowner)), rel
      FROM rel WHERE oid NOT IN (SELECT seqrelid FROM seq WHERE internal OR refobjid IS NOT NULL)
    UNION ALL
    SELECT nsp, 'owner', CASE prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END || chr(1) || fun,
           quote_ident(pg_get_userbyid(proowner)), fun FROM fun
    UNION ALL
    SELECT nsp, 'owner', 'type ' || chr(1) || typ, quote_ident(pg_get_userbyid(typowner)), typ FROM typ
    UNION ALL
    SELECT nsp, 'owner', 'schema ' || quote_ident(nspname), quote_ident(pg_get_userbyid(nspowner)), '' FROM b
    UNION ALL
    SELECT nsp, 'row security', rel, CASE WHEN relrowsecurity THEN 'enabled' ELSE 'disabled' END
               || CASE WHEN relforcerowsecurity THEN ', forced' ELSE '' END, rel
      FROM rel WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT nsp, 'option', rel || chr(31) || split_part(o, '=', 1), substr(o, strpos(o, '=') + 1), rel FROM rel, unnest(reloptions) AS o
    UNION ALL
    SELECT nsp, 'replica identity', rel, CASE relreplident WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL' ELSE 'an index' END, rel
      FROM rel WHERE relkind IN ('r', 'p') AND relreplident <> 'd'
    UNION ALL
    SELECT rel.nsp, 'inherits', rel.rel || chr(31) || i.inhparent::regclass::text, '', rel.rel
      FROM rel JOIN pg_inherits i ON i.inhrelid = rel.oid WHERE rel.relkind IN ('r', 'p', 'f')
    UNION ALL
    SELECT col.nsp, 'column', col.name, format_type(col.atttypid, col.atttypmod)
               || CASE WHEN col.attcollation <> t.typcollation THEN (SELECT ' COLLATE ' || quote_ident(collname) FROM pg_collation WHERE oid = col.attcollation) ELSE '' END
               || CASE WHEN col.attstorage <> t.typstorage THEN ' STORAGE ' || col.attstorage::text ELSE '' END
               || CASE WHEN col.attcompression::text <> '' THEN ' COMPRESSION ' || col.attcompression::text ELSE '' END
               || coalesce(' WITH ' || col.attoptions::text, ''), col.rel
      FROM col JOIN pg_type t ON t.oid = col.atttypid
     WHERE EXISTS (SELECT 1 FROM rel WHERE rel.oid = col.oid AND rel.relkind NOT IN ('v', 'm'))
    UNION ALL
    SELECT nsp, 'not null', name, '', rel FROM col WHERE attnotnull
    UNION ALL
    SELECT nsp, 'identity', name, CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, rel FROM col WHERE attidentity::text <> ''
    UNION ALL
    SELECT col.nsp, CASE col.attgenerated WHEN '' THEN 'default' WHEN 's' THEN 'stored expression' ELSE 'virtual expression' END,
           col.name, pg_get_expr(d.adbin, CASE col.attgenerated WHEN '' THEN 0 ELSE d.adrelid END), col.rel
      FROM col JOIN pg_attrdef d ON d.adrelid = col.oid AND d.adnum = col.attnum WHERE col.atthasdef
    UNION ALL
    SELECT con.nsp, 'constraint', con.rel || chr(31) || quote_ident(con.conname), written.def, con.rel
      FROM con JOIN written USING (alike)
    UNION ALL
    -- From 18 on NOT NULL may be promised and not kept.
    SELECT rel.nsp, 'unvalidated not null', rel.rel || chr(31) || quote_ident(c.conname), '', rel.rel
      FROM rel JOIN pg_constraint c ON c.conrelid = rel.oid WHERE c.contype = 'n' AND NOT c.convalidated
    UNION ALL
    SELECT rel.nsp, 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), rel.rel
      FROM rel JOIN pg_index i ON i.indrelid = rel.oid
     WHERE NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conrelid = rel.oid AND c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT rel.nsp, 'index state', i.indexrelid::regclass::text,
           concat_ws(', ', CASE WHEN NOT (i.indisvalid AND i.indisready AND i.indislive) THEN 'invalid' END, CASE WHEN i.indisclustered THEN 'clustered' END,
                     CASE WHEN i.indisreplident THEN 'replica identity' END), rel.rel
      FROM rel JOIN pg_index i ON i.indrelid = rel.oid
     WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) OR i.indisclustered OR i.indisreplident
    UNION ALL
    SELECT rel.nsp, 'policy', rel.rel || chr(31) || quote_ident(p.polname),
           format('AS %s FOR %s TO %s', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
               CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
               (SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o)) END, ', ' ORDER BY o = 0, pg_get_userbyid(o)) FROM unnest(p.polroles) AS o))
               || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
               || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''), rel.rel
      FROM rel JOIN pg_policy p ON p.polrelid = rel.oid
    UNION ALL
    SELECT rel.nsp, 'trigger', rel.rel || chr(31) || quote_ident(t.tgname), pg_get_triggerdef(t.oid), rel.rel
      FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT rel.nsp, 'trigger state', rel.rel || chr(31) || quote_ident(t.tgname),
           CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica only' ELSE 'always' END, rel.rel
      FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid WHERE NOT t.tgisinternal AND t.tgenabled <> 'O'
    UNION ALL
    SELECT rel.nsp, 'foreign key triggers', rel.rel, 'disabled', rel.rel
      FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid WHERE t.tgisinternal AND t.tgenabled <> 'O' GROUP BY rel.nsp, rel.rel
    UNION ALL
    SELECT rel.nsp, 'rule', rel.rel || chr(31) || quote_ident(r.rulename), pg_get_ruledef(r.oid), rel.rel
      FROM rel JOIN pg_rewrite r ON r.ev_class = rel.oid WHERE r.rulename <> '_RETURN'
    UNION ALL
    SELECT nsp, CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, fun,
           CASE WHEN prokind = 'a' THEN '' ELSE pg_get_functiondef(oid) END, fun FROM fun
    UNION ALL
    SELECT nsp, 'type', typ, CASE typtype
               WHEN 'e' THEN 'ENUM (' || (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = typ.oid) || ')'
               WHEN 'd' THEN concat_ws(' ', 'DOMAIN', format_type(typbasetype, typtypmod), CASE WHEN typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || typdefault,
                   (SELECT string_agg(quote_ident(conname) || ' ' || pg_get_constraintdef(oid), ' ' ORDER BY conname) FROM pg_constraint WHERE contypid = typ.oid AND contype = 'c'))
               WHEN 'r' THEN 'RANGE' ELSE 'base' END, typ
      FROM typ
    UNION ALL
    SELECT acl.nsp, 'grant', acl.object || chr(31) || CASE WHEN e.grantee = 0 THEN 'PUBLIC' WHEN e.grantee = acl.owner THEN 'its owner'
                                                         ELSE quote_ident(pg_get_userbyid(e.grantee)) END,
           string_agg(DISTINCT e.privilege_type || CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, ', '), acl.within
      FROM acl, aclexplode(acl.entries) AS e GROUP BY acl.nsp, acl.object, acl.owner, acl.within, e.grantee
    UNION ALL
    SELECT b.nsp, 'default privilege', quote_ident(pg_get_userbyid(d.defaclrole)) || chr(31)
               || CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END
               || chr(31) || CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(e.grantee)) END,
           string_agg(e.privilege_type, ', ' ORDER BY e.privilege_type), ''
      FROM b JOIN pg_default_acl d ON d.defaclnamespace = b.oid, aclexplode(d.defaclacl) AS e
     GROUP BY b.nsp, d.defaclrole, d.defaclobjtype, e.grantee
    UNION ALL
    SELECT dep.nsp, 'object', pg_describe_object(dep.classid, dep.objid, 0), '', '' FROM dep
     WHERE dep.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_default_acl'::regclass)
    UNION ALL
    SELECT b.nsp, 'role', 'attributes', coalesce((SELECT concat_ws(' ',
               CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
               CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
               CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN r.rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
               CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, 'CONNECTION LIMIT ' || r.rolconnlimit,
               'VALID UNTIL ' || quote_literal(coalesce(r.rolvaliduntil, 'infinity')))
             FROM pg_roles r WHERE r.oid = b.role_oid), 'missing'), ''
      FROM b WHERE b.role <> ''
    UNION ALL
    SELECT b.nsp, 'member of', quote_ident(pg_get_userbyid(m.roleid)), string_agg(DISTINCT concat_ws(', ',
               CASE WHEN m.admin_option THEN 'ADMIN' END, 'INHERIT ' || upper(to_jsonb(m) ->> 'inherit_option'), 'SET ' || upper(to_jsonb(m) ->> 'set_option')), '; '), ''
      FROM b JOIN pg_auth_members m ON m.member = b.role_oid GROUP BY b.nsp, m.roleid
    UNION ALL
    SELECT b.nsp, 'has member', quote_ident(pg_get_userbyid(m.member)), string_agg(DISTINCT concat_ws(', ',
               CASE WHEN m.admin_option THEN 'ADMIN' END, 'INHERIT ' || upper(to_jsonb(m) ->> 'inherit_option'), 'SET ' || upper(to_jsonb(m) ->> 'set_option')), '; '), ''
      FROM b JOIN pg_auth_members m ON m.roleid = b.role_oid GROUP BY b.nsp, m.member
    UNION ALL
    SELECT b.nsp, 'setting', split_part(c, '=', 1) || chr(31) || coalesce((SELECT quote_ident(datname) FROM pg_database WHERE oid = s.setdatabase), ''),
           substr(c, strpos(c, '=') + 1), ''
      FROM b JOIN pg_db_role_setting s ON s.setrole = b.role_oid, unnest(s.setconfig) AS c
    UNION ALL
    SELECT b.nsp, CASE s.deptype WHEN 'o' THEN 'owned elsewhere' WHEN 'r' THEN 'policy elsewhere' ELSE 'privilege elsewhere' END,
           pg_describe_object(s.classid, s.objid, s.objsubid), '', ''
      -- By role, not by database: OFFSET keeps the conditions apart, so that the right index is taken.
      FROM b, LATERAL (SELECT * FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = b.role_oid OFFSET 0) AS s
     WHERE (s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            OR s.dbid = 0 AND s.classid <> 'pg_auth_members'::regclass
               AND (s.classid <> 'pg_database'::regclass OR s.objid = (SELECT oid FROM pg_database WHERE datname = current_database())))
       AND b.oid IS DISTINCT FROM CASE
               WHEN s.classid = 'pg_namespace'::regclass THEN s.objid
               WHEN s.classid = 'pg_class'::regclass THEN (SELECT relnamespace FROM pg_class WHERE oid = s.objid)
               WHEN s.classid = 'pg_proc'::regclass THEN (SELECT pronamespace FROM pg_proc WHERE oid = s.objid)
               WHEN s.classid = 'pg_type'::regclass THEN (SELECT typnamespace FROM pg_type WHERE oid = s.objid)
               WHEN s.classid = 'pg_default_acl'::regclass THEN (SELECT defaclnamespace FROM pg_default_acl WHERE oid = s.objid)
               WHEN s.classid = 'pg_policy'::regclass THEN (SELECT relnamespace FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE pg_policy.oid = s.objid) END
),
-- Own names give way to marks, so that tenants can be compared and the marks be put back.
normal AS (
    SELECT nspname, kind,
           replace(replace(replace(replace(replace(replace(name, quoted, chr(1)), bare, chr(1)), 'schema ' || schema, 'schema ' || chr(4)),
               '"' || role || '"', chr(2)), role, chr(2)), cell, chr(3)) AS name,
           replace(replace(replace(replace(replace(def, quoted, chr(1)), bare, chr(1)), '"' || role || '"', chr(2)), role, chr(2)), cell, chr(3)) AS def,
           replace(replace(within, quoted, chr(1)), bare, chr(1)) AS within
      FROM (SELECT *, quote_ident(nspname) AS schema, quote_ident(nspname) || '.' AS bare, '"' || nspname || '".' AS quoted
              FROM (SELECT kind, name, def, within, split_part(nsp, chr(31), 1) AS nspname, split_part(nsp, chr(31), 2) AS role,
                           split_part(nsp, chr(31), 3) AS cell
                      FROM line OFFSET 0) AS line OFFSET 0) AS line
)
