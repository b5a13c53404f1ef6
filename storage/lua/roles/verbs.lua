-- Publish verbs: setuid functions, and the database role `broadside_verbs` with execute on them alone (users and roles
-- share one namespace, and the user is called `broadside`). `neighbourly`: the verbs that another node may call too,
-- with the role `broadside_peer`. A read replica gets its functions and grants from its master.

local disk = require('roles.disk')
local memory = require('roles.memory')

-- The same verb; if the instance has no room for what it writes, on its disk or in its memory, that is remembered.
local function noticed(verb)
    local on_disk = disk.noticed(verb)
    return function(...)
        return memory.noticed(on_disk, ...)
    end
end

return function(prefix, verbs, neighbourly)
    local published = {}
    for name, verb in pairs(verbs) do
        published[name] = noticed(verb)
    end
    rawset(_G, prefix, published)
    if box.info.ro then
        return
    end
    box.schema.role.create('broadside_verbs', {if_not_exists = true})
    box.schema.role.create('broadside_peer', {if_not_exists = true})
    for name in pairs(verbs) do
        local f = prefix .. '.' .. name
        box.schema.func.create(f, {setuid = true, if_not_exists = true})
        box.schema.role.grant('broadside_verbs', 'execute', 'function', f, {if_not_exists = true})
    end
    for _, name in ipairs(neighbourly or {}) do
        box.schema.role.grant('broadside_peer', 'execute', 'function', prefix .. '.' .. name, {if_not_exists = true})
    end
end
