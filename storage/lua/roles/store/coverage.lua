-- The data for a proof of coverage: the ledger's pages and cursors, and the base counted by id ranges. The caller asks
-- for one slice after the other, so that none blocks Tarantool's thread for long.

local coverage = {}

-- {segment, seq, after_id, end_id, ended} each.
function coverage.campaign_cursors(id)
    local list = {}
    for _, c in box.space.store_cursors:pairs({id}) do
        table.insert(list, {c.segment, c.seq, c.after_id, c.end_id, c.ended})
    end
    return list
end

-- Up to `limit` pages in order, after `last` {segment, seq} or from the first:
-- {segment, seq, from_id, to_id, node, epoch, state, recipients, settled, tallies, first_claimed_at, put_at, ended} each;
-- `ended`: who is settled, of a page that was cancelled; empty for others.
function coverage.campaign_pages(id, last, limit)
    local list = {}
    local key = last ~= nil and {id, last[1], last[2]} or {id}
    for _, p in box.space.store_pages:pairs(key, {iterator = last ~= nil and 'GT' or 'GE'}) do
        if p.campaign ~= id or #list >= limit then
            break
        end
        table.insert(list, {
            p.segment, p.seq, p.from_id, p.to_id, p.node, p.epoch, p.state, p.recipients, p.settled,
            setmetatable(p.tallies, {__serialize = 'map'}), p.first_claimed_at, p.put_at,
            p.state == 'settled' and p.ended or {},
        })
    end
    return list
end

-- How many subscribers each channel has with an id in (after, to], looking at no more than `limit` rows. Returns the
-- counts and the id up to which they go.
function coverage.subscribers_in(after, to, limit)
    local counts, rows, last = setmetatable({}, {__serialize = 'map'}), 0, to
    for _, row in box.space.store_subscribers:pairs({after}, {iterator = 'GT'}) do
        local id = row[1]
        if id > to then
            break
        end
        counts[row[2]] = (counts[row[2]] or 0) + 1
        rows = rows + 1
        if rows >= limit then
            last = id
            break
        end
    end
    return counts, last
end

-- Per channel, how many targets have ever left the base.
function coverage.removals()
    local removed = setmetatable({}, {__serialize = 'map'})
    for _, row in box.space.store_counts:pairs() do
        removed[row.channel] = row.removed
    end
    return removed
end

return coverage
