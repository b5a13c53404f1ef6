-- Publish verbs: setuid functions, and the database role `broadside_verbs` with execute on them alone (users and roles
-- share one namespace, and the user is called `broadside`).

return function(prefix, verbs)
    rawset(_G, prefix, verbs)
    box.schema.role.create('broadside_verbs', {if_not_exists = true})
    for name in pairs(verbs) do
        local f = prefix .. '.' .. name
        box.schema.func.create(f, {setuid = true, if_not_exists = true})
        box.schema.role.grant('broadside_verbs', 'execute', 'function', f, {if_not_exists = true})
    end
end
