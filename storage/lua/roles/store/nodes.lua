-- Nodes and their epochs. An epoch is granted here, and raised when a node's queue is not the one that we knew.

local atomic = require('roles.atomic')
local nodes = {}

-- Is this epoch the one that may claim and report?
function nodes.current(name, epoch)
    local node = box.space.store_nodes:get(name)
    return node ~= nil and node.status == 'current' and node.epoch == epoch
end

-- Unsettled pages of a fenced owner turn open: whoever claims one takes over what is not yet settled of it.
local function reopen(name, epoch)
    for _, state in ipairs({'claimed', 'enqueued'}) do
        for _, page in ipairs(box.space.store_pages.index.state:select({state, name})) do
            if page.epoch == epoch then
                box.space.store_pages:update({page.campaign, page.segment, page.seq}, {{'=', 'state', 'open'}})
            end
        end
    end
end

-- Clause 1. `epoch`: what the queue holds (0: nothing). Answers the epoch to go on with; another one than the queue's
-- means: purge and adopt. Refuses a second queue under a registered name.
function nodes.node_join(name, uuid, epoch, now)
    return atomic(function()
        local node = box.space.store_nodes:get(name)
        if node ~= nil and node.uuid ~= uuid then
            error(('node name %q is taken by queue %s (this one is %s): give this node a name of its own, or forget the ' ..
                   'old one'):format(name, node.uuid, uuid), 0)
        end
        if node ~= nil and node.status == 'current' and node.epoch == epoch and epoch > 0 then
            box.space.store_nodes:update(name, {{'=', 'seen_at', now}})
            return epoch
        end
        local granted = math.max(node and node.epoch or 0, epoch) + 1
        if node ~= nil then
            reopen(name, node.epoch)
        end
        box.space.store_nodes:replace({name, uuid, granted, 'current', 0, now, now})
        return granted
    end)
end

-- May this owner's queue go on for another lease?
function nodes.node_renew(name, epoch, now)
    if not nodes.current(name, epoch) then
        return false
    end
    box.space.store_nodes:update(name, {{'=', 'seen_at', now}})
    return true
end

function nodes.node_list()
    return box.space.store_nodes:select()
end

return nodes
