// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.content;

public interface SharedPreferences {
    interface Editor {
        Editor putString(String key, String value);

        void apply();
    }

    String getString(String key, String defValue);

    Editor edit();
}
