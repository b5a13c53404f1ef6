-- Nodes and their epochs. Epochs are granted here; a node gets a new one if its queue is not the one known before.

local fiber = require('fiber')
local answers = require('roles.store.answers')
local atomic = require('roles.atomic')
local clock = require('roles.clock')
local unsure = require('roles.store.unsure')
local nodes = {}

-- Seconds that a queue may go on without an answer from the store, counted from before it asked.
nodes.LEASE = 10
-- More seconds until the store considers a lease over, because clocks do not run equally fast.
local MARGIN = 1

-- name -> {seen_at, clock}: the renewal that this instance knows, and since when by its own clock. Not stored: an
-- instance that has just started, or just become the master, counts from its first look.
local renewed = {}

local function note_renewal(name, now)
    renewed[name] = {now, clock.now()}
end

-- Called with the name of a node whose earlier owners have no open work any more: corrections.lua sets it.
function nodes.when_reopened(_)
end

-- Whether the node's lease has surely run out. Only a renewal writes seen_at: if that has changed, the lease is newer.
function nodes.lease_over(node)
    local known = renewed[node.name]
    if known == nil or known[1] ~= node.seen_at then
        note_renewal(node.name, node.seen_at)
        return false
    end
    return clock.now() > known[2] + nodes.LEASE + MARGIN
end

-- Whether this epoch is the one that may claim.
function nodes.current(name, epoch)
    local node = box.space.store_nodes:get(name)
    return node ~= nil and node.status == 'current' and node.epoch == epoch
end

-- Whether this epoch may report. A fenced one may, until its pages are open.
function nodes.reports(name, epoch)
    local node = box.space.store_nodes:get(name)
    return node ~= nil and node.status ~= 'forgotten' and node.epoch == epoch
end

local OWNED = {'claimed', 'enqueued'} -- states of an unsettled page with an owner
local PAGES_A_STEP = 100
local PAGES_LOOKED_AT = 1000 -- between two yields

-- name -> the epoch and status for which no page of an earlier owner is left. Not stored: an instance that has just
-- started looks through the pages once.
local opened = {}

local function wall_ms()
    return math.floor(fiber.time() * 1000)
end

local function open(name, keys)
    return atomic(function()
        local node = box.space.store_nodes:get(name)
        for _, key in ipairs(keys) do
            local page = box.space.store_pages:get(key) -- again: it may have changed during the last commit
            if page ~= nil and (page.state == 'claimed' or page.state == 'enqueued') and page.node == name
                and not nodes.reports(name, page.epoch) then
                answers.forgotten(page, wall_ms())
                box.space.store_pages:update(key, {{'=', 'state', 'open'}, {'=', 'tallies', unsure.note(page)}})
            end
        end
        return ('%s %s'):format(tostring(node.epoch), node.status)
    end)
end

-- Open the unsettled pages of this name's earlier owners, which may not report any more: a node that claims one takes
-- over the rest of it. In small steps; who is interrupted begins again, and no owner writes to the rest meanwhile.
local function reopen(name)
    local keys, looked, standing = {}, 0, open(name, {})
    if opened[name] == standing then
        return
    end
    for _, state in ipairs(OWNED) do
        for _, page in box.space.store_pages.index.state:pairs({state, name}) do
            looked = looked + 1
            if not nodes.reports(name, page.epoch) then
                table.insert(keys, {page.campaign, page.segment, page.seq})
            end
            if #keys == PAGES_A_STEP then
                open(name, keys)
                keys = {}
                fiber.yield()
            elseif looked % PAGES_LOOKED_AT == 0 then
                fiber.yield()
            end
        end
    end
    open(name, keys)
    nodes.when_reopened(name)
    opened[name] = standing
end

-- Clause 1. `epoch`: the queue's epoch (0: none). Returns the epoch to go on with; if it differs from the queue's, the
-- queue must purge its work and adopt it. Returns nil while a fenced epoch's lease may still hold: its reports come
-- first. Refuses a second queue under a registered name. `channels`: the names that this node serves.
function nodes.node_join(name, uuid, epoch, now, channels)
    nodes.release_fenced()
    local granted = atomic(function()
        local node = box.space.store_nodes:get(name)
        if node ~= nil and node.status == 'fenced' then
            return nil
        end
        if node ~= nil and node.status == 'current' and node.uuid ~= uuid then
            error(('node name %q is taken by queue %s (this one is %s): give this node a name of its own, or forget the ' ..
                   'old one: broadside peers forget %s'):format(name, node.uuid, uuid, name), 0)
        end
        if node ~= nil and node.status == 'current' and node.epoch == epoch and epoch > 0 then
            box.space.store_nodes:update(name, {{'=', 'channels', channels}})
            return epoch
        end
        local next_epoch = math.max(tonumber(node and node.epoch or 0), tonumber(epoch)) + 1
        box.space.store_nodes:replace({name, uuid, next_epoch, 'current', 0, now, now, channels})
        note_renewal(name, now)
        return next_epoch
    end)
    if granted ~= nil then
        reopen(name)
    end
    return granted
end

-- Renew the lease of this owner's queue. Returns false if its epoch is not current.
function nodes.renew(name, epoch, now)
    if not nodes.current(name, epoch) then
        return false
    end
    box.space.store_nodes:update(name, {{'=', 'seen_at', now}})
    note_renewal(name, now)
    return true
end

-- Clause 9, the first step: nothing is claimed or renewed in this epoch any more. Returns the node's status now, or nil
-- if there is none of that name.
function nodes.node_forget(name)
    local known = atomic(function()
        local node = box.space.store_nodes:get(name)
        if node ~= nil and node.status == 'current' then
            box.space.store_nodes:update(name, {{'=', 'status', 'fenced'}})
        end
        return node ~= nil
    end)
    nodes.release_fenced()
    return known and box.space.store_nodes:get(name).status or nil
end

-- Clause 9, the second step: once a fenced epoch's lease has run out, its reports are refused too, and then its pages
-- open. It may be called at any time. Returns the names of the nodes whose lease has just run out.
function nodes.release_fenced()
    local released = {}
    for _, row in ipairs(box.space.store_nodes.index.name:select()) do
        atomic(function()
            local node = box.space.store_nodes:get(row.name) -- read again: it may have changed during the last commit
            if node.status == 'fenced' and nodes.lease_over(node) then
                box.space.store_nodes:update(node.name, {{'=', 'status', 'forgotten'}})
                table.insert(released, node.name)
            end
        end)
        reopen(row.name)
    end
    return released
end

-- {name, uuid, epoch, status, seen_at, whether it may hold a lease, unsettled pages} each.
function nodes.node_list()
    local list = {}
    for _, node in ipairs(box.space.store_nodes:select()) do
        local leased = node.status ~= 'forgotten' and not nodes.lease_over(node)
        local unsettled = 0
        for _, state in ipairs(OWNED) do
            unsettled = unsettled + box.space.store_pages.index.state:count({state, node.name})
        end
        table.insert(list, {node.name, node.uuid, node.epoch, node.status, node.seen_at, leased, unsettled})
    end
    return list
end

return nodes
