-- The feed: what became of subscribers without the app's backend asking for it (dead, replaced, restored). A row has the
-- subscribers of one call, written in the call's own transaction; so a batch of verdicts is one write more.

local memory = require('roles.memory')
local feed = {}

local KEEP = 7 * 86400 * 1000 -- ms
local MOST = 200000 -- subscribers; older ones leave, some 200 bytes each
local A_STEP = 20 -- rows that leave with one that comes

-- Inside the caller's transaction. entries: {subscriber, token, other} each; `other`: of 'replaced' the new token, of
-- 'dead' the provider's reason. Where the memory is used up, only their number is kept, as a gap.
function feed.add(kind, channel, campaign, entries, now)
    if #entries == 0 then
        return
    end
    local space = box.space.store_feed
    local last = space.index.number:max()
    local number, sum = 1, #entries
    if last ~= nil then
        number, sum = last.number + 1, last.sum + #entries
    end
    local old = {}
    for _, row in space:pairs() do
        if #old >= A_STEP or row.at + KEEP > now and sum - row.sum + row.subscribers <= MOST then
            break
        end
        table.insert(old, row.number)
    end
    for _, gone in ipairs(old) do
        space:delete({gone})
    end
    if memory.full() then
        kind, entries = 'gap', {}
    end
    space:insert({number, sum, now, kind, channel, campaign, sum - (last and last.sum or 0), entries})
end

-- Up to `limit` rows behind number `after`, and the numbers of the first and the last row that is kept (0: none).
function feed.feed_page(after, limit)
    local space = box.space.store_feed
    local first, last = space.index.number:min(), space.index.number:max()
    return space:select({after}, {iterator = 'GT', limit = limit}), first and first.number or 0, last and last.number or 0
end

return feed
