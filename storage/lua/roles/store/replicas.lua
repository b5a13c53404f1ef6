-- A store of several instances: which one takes writes, and what a replica may answer in place of the master.

local election = require('election')
local replication = require('replication')

local replicas = {}

local REPLICA_TIMEOUT = 1 -- seconds for a replica to reach a claim's position; after that the master is asked

-- Whether this is the instance that takes writes.
function replicas.writable()
    if election.standing() then
        return election.promise()
    end
    return not box.info.ro
end

local function with_position(verdict, ...)
    if verdict ~= 'claimed' then
        return verdict, ...
    end
    local from_id, to_id, following, ended, unsure, only = ...
    local position = replication.position()
    return verdict, from_id, to_id, following, ended, position, unsure, only
end

-- A claim's answer, and the base's position: a replica that has reached it has every subscriber of the page.
function replicas.positioned(claim)
    return function(...)
        return with_position(claim(...))
    end
end

-- `page_read` on a replica that has reached the claim's position; nil: it is behind.
function replicas.reader(read)
    return function(position, ...)
        if not replication.wait(position, REPLICA_TIMEOUT) then
            return nil
        end
        return read(...)
    end
end

return replicas
