-- Reports what this process learned of each circuit, asks for probes, and reads the rows back:
-- they correct the local table. Parameters: daemon, names, failures in a row, whether a success
-- came before them, whether to ask for the probe. probe_granted: this very statement granted it.
SELECT c.name, c.state, c.failures,
    ceil(extract(epoch FROM coalesce(c.probe_until, c.open_until) - now()) * 1000)::bigint AS held_ms,
    coalesce(c.probe_by = $1::bigint, false) AS probe_ours,
    coalesce(g.wants_probe AND c.probe_by = $1::bigint AND c.changed_at = now(), false) AS probe_granted
FROM unnest($2::text[], $3::int[], $4::boolean[], $5::boolean[])
    AS g (name, failures, succeeded, wants_probe)
CROSS JOIN LATERAL circuit_tell(g.name, g.failures, g.succeeded, g.wants_probe, $1::bigint) AS c
