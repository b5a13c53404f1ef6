-- Rows that were written before tokens had one form: read, and rewritten, some at a time, while nothing fires. The rules
-- are the platforms' and live in Python; here are the walk along a channel's tokens, and what one rewritten token does.
--
-- How far it is stands in store_meta, by channel: a walk goes on after a restart, and is done once for each rule. A token
-- that is rewritten while the walk goes on may be met again, which changes nothing.

local atomic = require('roles.atomic')
local memory = require('roles.memory')
local subscribers = require('roles.store.subscribers')

local tokens = {}

local PREFIX = 'tokens:'
local BUSY = 30000 -- ms for which a channel is the node's that has written last

local function quiet()
    for _, state in ipairs({'firing', 'pausing', 'cancelling'}) do
        if #box.space.store_campaigns.index.state:select({state}, {limit = 1}) > 0 then
            return false
        end
    end
    return true
end

local function progress(channel, rule)
    local row = box.space.store_meta:get(PREFIX .. channel)
    local found = row and row.value
    if found == nil or found.rule ~= rule then
        found = {rule = rule, after = '', done = false, normalised = 0, merged = 0, strange = 0, node = '', at = 0}
    end
    return found
end

-- What `node` may look at next, by the rule of this name: 'done'; 'fires' (not now); 'busy' (another node does it);
-- 'page', the token up to which the walk is written down, and up to `limit` rows {id, token, kind} after `after` (nil:
-- after that token).
function tokens.tokens_page(channel, rule, node, after, limit, now)
    local p = progress(channel, rule)
    if p.done then
        return 'done'
    elseif not quiet() then
        return 'fires'
    elseif p.node ~= '' and p.node ~= node and p.at + BUSY > now then
        return 'busy'
    end
    local list = {}
    after = after ~= nil and after or p.after
    for _, row in box.space.store_subscribers.index.target:pairs({channel, after}, {iterator = 'GT'}) do
        if row[2] ~= channel or #list >= limit then
            break
        end
        table.insert(list, {row[1], row[3], row[4]})
    end
    return 'page', p.after, list
end

-- One token in its new form. Where a row has it already they are one phone: the older id stays, with what the later
-- registration says.
local function rewrite(channel, id, old, new)
    local space = box.space.store_subscribers
    local row = space:get(id)
    if row == nil or row.channel ~= channel or row.token ~= old then
        return nil -- registered anew, or gone
    end
    local other = space.index.target:get({channel, new})
    if other == nil then
        space:update(id, {{'=', 'token', new}})
        return 'normalised'
    end
    local elder, younger = row, other
    if other.id < row.id then
        elder, younger = other, row
    end
    local latest = younger.registered_at >= elder.registered_at and younger or elder
    space:delete(younger.id)
    space:replace(latest:update({{'=', 'id', elder.id}, {'=', 'token', new}}))
    subscribers.left(channel, 1)
    return 'merged'
end

-- Rewrite {id, old token, new token} each, and write down that the walk is at `upto`, or at its end. `since`: the token
-- up to which it was written down; `strange`: how many rows since then hold no token. Answers 'written', or 'fires',
-- or 'lost' (another node went on from there) with nothing written.
function tokens.tokens_write(channel, rule, node, since, upto, done, changes, strange, now)
    return memory.noticed(atomic, function()
        local p = progress(channel, rule)
        if not quiet() then
            return 'fires'
        elseif p.done or p.after ~= since then
            return 'lost'
        end
        for _, change in ipairs(changes) do
            local what = rewrite(channel, unpack(change))
            if what ~= nil then
                p[what] = p[what] + 1
            end
        end
        p.strange, p.after, p.done, p.node, p.at = p.strange + strange, upto, done, node, now
        box.space.store_meta:replace({PREFIX .. channel, p})
        return 'written'
    end)
end

-- Per channel, how far its walk is and what it came to.
function tokens.tokens_report()
    local found = setmetatable({}, {__serialize = 'map'})
    for _, row in box.space.store_meta:pairs({PREFIX}, {iterator = 'GE'}) do
        if row.key:sub(1, #PREFIX) ~= PREFIX then
            break
        end
        local p = row.value
        found[row.key:sub(#PREFIX + 1)] = {
            done = p.done, normalised = p.normalised, merged = p.merged, strange = p.strange,
        }
    end
    return found
end

return tokens
